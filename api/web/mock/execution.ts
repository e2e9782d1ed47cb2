// Plays an execution from its request to its branch, at the pace of the world.

import { randomUUID } from 'node:crypto'
import type {
  CodingAgentKind,
  Execution,
  Idea,
  Project,
  StartChoices,
  Step,
  StepName,
} from '../src/api/types.ts'
import { Cancelled, DemoTurn } from './demo.ts'
import type { World } from './world.ts'

const STEPS: { step: StepName; reason: string; beats: number }[] = [
  { step: 'node_selection', reason: 'local has room for one more', beats: 1 },
  { step: 'node_provisioning', reason: 'local is already running', beats: 0 },
  { step: 'node_agent_ready', reason: 'connected', beats: 0 },
  { step: 'workspace_creation', reason: 'sam-base:1, 2 processors, 4 GB', beats: 3 },
  { step: 'workspace_ready', reason: 'cloned from the mirror', beats: 2 },
  { step: 'agent_session', reason: '', beats: 2 },
  { step: 'running', reason: '', beats: 0 },
]

export const NODE = 'b7d1f0a2-0000-4000-8000-00000000000a'

/** Requests an execution of an idea and starts to play it. */
export function startExecution(
  world: World,
  project: Project,
  idea: Idea,
  id: string,
  choices: StartChoices,
): void {
  const session = idea.session ?? randomUUID()
  const codingAgent = world.agentFor(project, choices.codingAgent)
  const branch = idea.branch ?? branchFor(idea.title)
  const execution: Execution = {
    id,
    idea: idea.id,
    project: project.id,
    session,
    state: 'running',
    step: 'node_selection',
    steps: STEPS.map(({ step }): Step => ({ step, state: 'pending' })),
    codingAgent,
    profile: choices.profile ?? project.defaults.profile,
    permissions: choices.permissions ?? project.defaults.permissions,
    branch,
    requestedAt: world.now(),
    events: [],
    ...(choices.baseBranch === undefined ? {} : { baseBranch: choices.baseBranch }),
  }
  world.executions.set(id, execution)
  world.sessions.set(session, {
    id: session,
    project: project.id,
    idea: idea.id,
    title: idea.title,
    state: 'working',
    execution: id,
    codingAgent,
    updatedAt: world.now(),
    preview: 'Starting',
  })
  world.record('ExecutionRequested', { execution: id, idea: idea.id, project: project.id, session }, `Requested: ${idea.title}`, 'Owner')
  world.changeIdea(
    idea.id,
    { stage: 'executing', execution: id, executions: [...idea.executions, id], session, branch, codingAgent, parkedReason: null },
    'IdeaExecuted',
  )
  if (idea.session === null || idea.session === undefined) putPrompt(world, session, idea.description)
  void play(world, execution, idea.description)
}

/** Adds what a person wrote. */
export function putPrompt(world: World, session: string, text: string, key: string = randomUUID(), isQueued = false): void {
  world.put(session, {
    item: 'message',
    key,
    position: 0,
    at: world.now(),
    author: 'person',
    kind: 'answer',
    text,
    nChunks: 1,
    isComplete: true,
    isTruncated: false,
    isQueued,
  })
}

async function play(world: World, execution: Execution, prompt: string): Promise<void> {
  const { id, session, idea } = execution
  const turn = new DemoTurn(world, execution)
  world.cancels.set(id, () => turn.cancel())
  try {
    await prepare(world, execution, turn)
    let next: string | undefined = prompt
    while (next !== undefined) {
      await turn.play(next)
      const queued = world.queued.get(session)?.shift()
      if (queued !== undefined) putPrompt(world, session, queued.text, queued.message)
      next = queued?.text
    }
    await finish(world, execution, turn)
  } catch (error) {
    const isCancel = error instanceof Cancelled
    const reason = error instanceof Error ? error.message : 'unknown'
    endSteps(world, id, 'failed')
    world.changeExecution(
      id,
      {
        state: isCancel ? 'cancelled' : 'failed',
        endedAt: world.now(),
        reason: isCancel ? 'Cancelled by you.' : reason,
        ...(turn.files.length > 0 ? { checkpoint: `refs/sam/checkpoints/${id.slice(0, 8)}` } : {}),
      },
      isCancel ? 'ExecutionCancelled' : 'ExecutionFailed',
      isCancel ? 'Cancelled' : reason,
    )
    world.changeIdea(idea, { stage: 'parked', needsInput: false, parkedReason: isCancel ? 'Cancelled' : reason }, 'IdeaParked')
    world.changeSession(session, { state: 'idle', preview: isCancel ? 'Cancelled' : reason })
  } finally {
    world.cancels.delete(id)
    release(world, id)
  }
}

async function prepare(world: World, execution: Execution, turn: DemoTurn): Promise<void> {
  const workspace = randomUUID()
  for (const { step, reason, beats } of STEPS) {
    const why = step === 'agent_session' ? agentReason(execution.codingAgent) : reason
    enterStep(world, execution.id, step, why, beats === 0 && step !== 'running')
    if (step === 'workspace_creation') openWorkspace(world, execution, workspace)
    await turn.wait(beats)
    const logged = world.workspaces.get(workspace)
    if (logged !== undefined && beats > 0) {
      world.workspaces.set(workspace, {
        ...logged,
        state: 'running',
        bootLog: [...logged.bootLog, { step, state: 'completed', detail: why, at: world.now() }],
      })
      world.record('BootStepCompleted', { workspace, execution: execution.id, project: execution.project }, `${step} completed`, 'agent', step)
    }
  }
}

function openWorkspace(world: World, execution: Execution, workspace: string): void {
  const { id, project, branch, profile } = execution
  world.workspaces.set(workspace, {
    id: workspace,
    project,
    node: NODE,
    execution: id,
    state: 'creating',
    profile,
    branch,
    bootLog: [{ step: 'workspace_creation', state: 'started', detail: '', at: world.now() }],
    createdAt: world.now(),
  })
  const node = world.nodes.get(NODE)
  if (node !== undefined) {
    world.nodes.set(NODE, { ...node, warmUntil: null, placed: [...node.placed, { workspace, execution: id }] })
  }
  world.changeExecution(id, { workspace, node: NODE }, 'WorkspacePlaced', 'A workspace was placed on local')
  world.record('WorkspacePlaced', { node: NODE, project, execution: id }, 'A workspace took a place', 'SAM', 'workspace_creation')
}

function release(world: World, execution: string): void {
  for (const workspace of world.workspaces.values()) {
    if (workspace.execution !== execution) continue
    world.workspaces.set(workspace.id, { ...workspace, state: 'stopped' })
    world.record('WorkspaceStopped', { workspace: workspace.id, project: workspace.project }, 'Stopped')
  }
  const node = world.nodes.get(NODE)
  if (node === undefined) return
  const placed = node.placed.filter((place) => place.execution !== execution)
  const warmUntil = placed.length === 0 ? new Date(Date.now() + 30 * 60_000).toISOString() : null
  world.nodes.set(NODE, { ...node, placed, warmUntil })
  world.record('WorkspaceReleased', { node: NODE }, 'Released')
}

async function finish(world: World, execution: Execution, turn: DemoTurn): Promise<void> {
  const { id, idea, session, branch } = execution
  world.changeExecution(id, { state: 'finishing' }, 'ExecutionFinishing', 'Committing and pushing')
  await turn.wait(2)
  endSteps(world, id, 'done')
  const { files } = turn
  if (files.length > 0) world.diffs.set(id, files.map(({ diff }) => diff).join(''))
  world.changeExecution(
    id,
    {
      state: 'done',
      endedAt: world.now(),
      result: {
        ...(files.length > 0 ? { reference: `refs/heads/${branch}` } : {}),
        head: '9f3c1e7ab2d4',
        base: '41d0c9be77aa',
        commits:
          files.length > 0
            ? [{ id: '9f3c1e7ab2d44c0fb1d', subject: world.ideas.get(idea)?.title ?? 'Change', author: 'SAM', at: world.now() }]
            : [],
        files: files.map(({ path, added }) => ({ path, added, removed: 0 })),
        isDiffCut: false,
      },
    },
    'ExecutionDone',
    files.length > 0 ? `Pushed ${branch}` : 'No changes',
  )
  world.changeIdea(idea, { stage: 'done' }, 'IdeaDone')
  world.changeSession(session, { state: 'idle', preview: files.length > 0 ? `Pushed ${branch}` : 'No changes' })
}

function enterStep(world: World, id: string, step: StepName, reason: string, isSkipped: boolean): void {
  const execution = world.executions.get(id)
  if (execution === undefined) return
  const now = world.now()
  const steps = execution.steps.map((known): Step => {
    if (known.step === step) {
      return isSkipped
        ? { ...known, state: 'skipped', reason, startedAt: now, endedAt: now }
        : { ...known, state: 'active', reason, startedAt: now }
    }
    return known.state === 'active' ? { ...known, state: 'done', endedAt: now } : known
  })
  world.changeExecution(id, { step, steps }, 'StepEntered', reason === '' ? step : `${step}: ${reason}`)
}

function endSteps(world: World, id: string, state: 'done' | 'failed'): void {
  const execution = world.executions.get(id)
  if (execution === undefined) return
  const steps = execution.steps.map(
    (known): Step => (known.state === 'active' ? { ...known, state, endedAt: world.now() } : known),
  )
  world.executions.set(id, { ...execution, steps })
}

function agentReason(kind: CodingAgentKind): string {
  return kind === 'demo' ? 'demo agent 0.1' : 'Claude Code over ACP'
}

export function branchFor(title: string): string {
  const words = title.toLowerCase().replace(/[^a-z0-9]+/g, ' ').trim().split(' ').slice(0, 4)
  return `sam/${words.join('-').slice(0, 44)}-${randomUUID().slice(0, 6)}`
}
