// How states are called on the page. Each table lists every state, so that a new one fails the build.

import type {
  ExecutionState,
  NodeState,
  PhaseName,
  PhaseState,
  Projection,
  SessionState,
  Stage,
  StepName,
  TimelineKind,
  ToolCallStatus,
  WorkspaceState,
} from '~/api/types'

export type Tone = 'good' | 'busy' | 'wait' | 'bad' | 'muted'
export interface Word {
  label: string
  tone: Tone
}

export const STAGES = {
  exploring: { label: 'Exploring', tone: 'muted' },
  ready: { label: 'Ready', tone: 'wait' },
  executing: { label: 'Executing', tone: 'busy' },
  done: { label: 'Done', tone: 'good' },
  parked: { label: 'Parked', tone: 'bad' },
} satisfies Record<Stage, Word>

export const EXECUTION_STATES = {
  running: { label: 'Running', tone: 'busy' },
  waiting: { label: 'Waiting', tone: 'wait' },
  needs_input: { label: 'Needs you', tone: 'wait' },
  finishing: { label: 'Finishing', tone: 'busy' },
  done: { label: 'Done', tone: 'good' },
  failed: { label: 'Failed', tone: 'bad' },
  cancelled: { label: 'Cancelled', tone: 'muted' },
} satisfies Record<ExecutionState, Word>

export const SESSION_STATES = {
  idle: { label: 'Idle', tone: 'muted' },
  working: { label: 'Working', tone: 'busy' },
  needs_input: { label: 'Needs you', tone: 'wait' },
  closed: { label: 'Closed', tone: 'muted' },
} satisfies Record<SessionState, Word>

export const NODE_STATES = {
  pending: { label: 'Pending', tone: 'wait' },
  creating: { label: 'Creating', tone: 'busy' },
  running: { label: 'Running', tone: 'good' },
  stopping: { label: 'Stopping', tone: 'wait' },
  stopped: { label: 'Stopped', tone: 'muted' },
  error: { label: 'Error', tone: 'bad' },
} satisfies Record<NodeState, Word>

export const WORKSPACE_STATES = {
  pending: { label: 'Pending', tone: 'wait' },
  creating: { label: 'Creating', tone: 'busy' },
  running: { label: 'Running', tone: 'good' },
  recovery: { label: 'Recovery', tone: 'wait' },
  stopping: { label: 'Stopping', tone: 'wait' },
  stopped: { label: 'Stopped', tone: 'muted' },
  error: { label: 'Error', tone: 'bad' },
  deleted: { label: 'Deleted', tone: 'muted' },
} satisfies Record<WorkspaceState, Word>

export const TOOL_CALL_STATES = {
  pending: { label: 'waiting', tone: 'wait' },
  in_progress: { label: 'running', tone: 'busy' },
  completed: { label: 'done', tone: 'good' },
  failed: { label: 'failed', tone: 'bad' },
} satisfies Record<ToolCallStatus, Word>

export const STEPS = {
  node_selection: 'Find a node',
  node_provisioning: 'Start the node',
  node_agent_ready: 'Connect to the node',
  workspace_creation: 'Create the workspace',
  workspace_ready: 'Check out the branch',
  agent_session: 'Start the coding agent',
  running: 'Run',
} satisfies Record<StepName, string>

export const PHASES = {
  ...STEPS,
  finishing: 'Commit',
  push: 'Push',
} satisfies Record<PhaseName, string>

export const PHASE_STATES = {
  active: { label: 'now', tone: 'busy' },
  done: { label: 'done', tone: 'good' },
  failed: { label: 'failed', tone: 'bad' },
  skipped: { label: 'not needed', tone: 'muted' },
} satisfies Record<PhaseState, Word>

export const KINDS = {
  idea: 'Idea',
  execution: 'Execution',
  process: 'Process',
  node: 'Node',
  workspace: 'Workspace',
  session: 'Chat',
  git: 'Git',
} satisfies Record<TimelineKind, string>

export const PROJECTION_STATES = {
  running: { label: 'Running', tone: 'good' },
  parked: { label: 'Parked', tone: 'bad' },
  rebuilding: { label: 'Rebuilding', tone: 'busy' },
} satisfies Record<Projection['state'], Word>

/** Stands where a text was whose key is destroyed. */
export const ERASED = 'erased'

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`
}
