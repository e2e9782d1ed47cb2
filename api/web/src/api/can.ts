// What may be done in which state: one table, the same rules as `domain` decides by.
//
// The server has the last word; this only keeps buttons that cannot work off the page.

import type { Execution, ExecutionState, Idea, NodeState, Stage } from '~/api/types'

const EXECUTION_CAN = {
  running: ['cancel', 'queue'],
  waiting: ['cancel'],
  needs_input: ['cancel', 'answer'],
  finishing: [],
  done: ['follow_up'],
  failed: ['retry'],
  cancelled: ['retry'],
} satisfies Record<ExecutionState, readonly string[]>

const IDEA_CAN = {
  exploring: ['execute', 'edit', 'move'],
  ready: ['execute', 'edit', 'move'],
  executing: ['cancel'],
  done: [],
  parked: ['execute', 'move'],
} satisfies Record<Stage, readonly string[]>

const NODE_CAN = {
  pending: [],
  creating: ['stop'],
  running: ['stop'],
  stopping: [],
  stopped: [],
  error: ['stop'],
} satisfies Record<NodeState, readonly string[]>

type ExecutionAct = 'cancel' | 'queue' | 'answer' | 'follow_up' | 'retry'
type IdeaAct = 'execute' | 'edit' | 'move' | 'cancel'

export function executionCan(execution: Pick<Execution, 'state'>, act: ExecutionAct): boolean {
  const acts: readonly string[] = EXECUTION_CAN[execution.state]
  return acts.includes(act)
}

export function ideaCan(idea: Pick<Idea, 'stage'>, act: IdeaAct): boolean {
  const acts: readonly string[] = IDEA_CAN[idea.stage]
  return acts.includes(act)
}

export function nodeCan(node: { state: NodeState }, act: 'stop'): boolean {
  const acts: readonly string[] = NODE_CAN[node.state]
  return acts.includes(act)
}

/** A stage that a person may move an idea to; the other stages are reached by work. */
export type BoardMove = Exclude<Stage, 'executing' | 'done'>

/** Where a person may move an idea on the board. */
export function movesOf(stage: Stage): BoardMove[] {
  switch (stage) {
    case 'exploring':
      return ['ready', 'parked']
    case 'ready':
      return ['exploring', 'parked']
    case 'parked':
      return ['ready']
    case 'executing':
    case 'done':
      return []
  }
}
