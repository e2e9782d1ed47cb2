// The simulated control plane's state: what the read models would say, and who listens.
//
// It keeps the promises that the UI relies on: one position order, a frame for every change, chunks that run ahead of
// items. Deliberately absent: anything that survives the process.

import type {
  CodingAgentKind,
  Credential,
  DamagedStream,
  Execution,
  Idea,
  Item,
  NodeView,
  Project,
  ServerFrame,
  Session,
  PhaseName,
  Projection,
  TextKind,
  Variable,
  Workspace,
} from '../src/api/types.ts'
import { Log } from './log.ts'

type Changed = Extract<ServerFrame, { type: 'changed' }>
export type Touched = Omit<Changed, 'type' | 'position' | 'event'>

interface OpenText {
  session: string
  kind: TextKind
  chunks: string[]
}

export class World {
  position = 0
  readonly projects = new Map<string, Project>()
  readonly ideas = new Map<string, Idea>()
  readonly executions = new Map<string, Execution>()
  readonly sessions = new Map<string, Session>()
  readonly items = new Map<string, Map<string, Item>>()
  readonly log = new Log()
  readonly projections = new Map<string, Projection>(PROJECTIONS.map((name) => [name, runningProjection(name)]))
  readonly diffs = new Map<string, string>()
  readonly nodes = new Map<string, NodeView>()
  readonly workspaces = new Map<string, Workspace>()
  readonly credentials = new Map<string, Credential>()
  /** By project, then by name. */
  readonly variables = new Map<string, Map<string, Variable>>()
  damaged: DamagedStream[] = []
  /** Texts that are still being written, by message. */
  readonly openTexts = new Map<string, OpenText>()
  /** Who waits for a person's answer, by permission request. */
  readonly waiting = new Map<string, (option: string) => void>()
  /** Follow-ups for after the turn, by session. */
  readonly queued = new Map<string, { message: string; text: string }[]>()
  /** Ends what an execution is doing, by execution. */
  readonly cancels = new Map<string, () => void>()
  readonly listeners = new Set<(frame: ServerFrame) => void>()
  /** A simulated moment of waiting, in milliseconds. */
  readonly pace: number

  constructor(pace: number) {
    this.pace = pace
  }

  now(): string {
    return new Date().toISOString()
  }

  /** Records that something happened and tells every page. */
  record(event: string, touched: Touched, summary: string, by = 'SAM', phase?: PhaseName): number {
    this.position += 1
    const [kind, id] = subjectOf(touched)
    this.log.append({
      position: this.position,
      at: this.now(),
      kind,
      stream: id,
      event,
      summary,
      actor: by,
      ...idsIn(touched),
      ...(phase === undefined ? {} : { phase }),
      ...this.#stateOf(kind, id),
    })
    this.tell({ type: 'changed', position: this.position, event, ...touched })
    return this.position
  }

  /** Adds or replaces an item of a conversation; its place is where it first stood. */
  put(session: string, item: Item): void {
    this.position += 1
    const items = this.items.get(session) ?? new Map<string, Item>()
    this.items.set(session, items)
    const placed = { ...item, position: items.get(item.key)?.position ?? this.position }
    items.set(item.key, placed)
    const { project, idea, execution, state } = this.sessions.get(session) ?? {}
    this.log.append({
      position: this.position,
      at: item.at || this.now(),
      kind: 'session',
      stream: session,
      event: ITEM_EVENTS[item.item],
      summary: summaryOf(placed),
      actor: item.item === 'message' && item.author === 'person' ? 'Owner' : 'agent',
      session,
      item: structuredClone(placed),
      state: { state, items: items.size },
      ...idsIn({ project, idea, execution }),
      ...(execution ? { phase: 'running' as const } : {}),
    })
    this.tell({ type: 'item', session, position: this.position, item: placed })
  }

  /** Streams one piece of a message; every few pieces reach the log. */
  stream(session: string, message: string, kind: TextKind, text: string): void {
    const open = this.openTexts.get(message) ?? { session, kind, chunks: [] }
    this.openTexts.set(message, open)
    const chunk = open.chunks.length
    open.chunks.push(text)
    this.tell({ type: 'chunk', session, message, kind, chunk, text })
    if (open.chunks.length % 12 === 0) this.putText(message, false)
  }

  /** Ends a streamed message. */
  close(message: string): void {
    this.putText(message, true)
    this.openTexts.delete(message)
  }

  changeSession(id: string, change: Partial<Session>): void {
    const session = this.sessions.get(id)
    if (session === undefined) return
    this.sessions.set(id, { ...session, ...change, updatedAt: this.now() })
    this.record('SessionChanged', { session: id, project: session.project }, 'The session changed')
  }

  changeIdea(id: string, change: Partial<Idea>, event: string): void {
    const idea = this.ideas.get(id)
    if (idea === undefined) return
    this.ideas.set(id, { ...idea, ...change, updatedAt: this.now() })
    this.record(event, { idea: id, project: idea.project }, event)
    this.countExecuting(idea.project)
  }

  changeExecution(id: string, change: Partial<Execution>, event: string, summary: string, by = 'SAM'): void {
    const execution = this.executions.get(id)
    if (execution === undefined) return
    this.executions.set(id, { ...execution, ...change })
    const { project, idea, session } = execution
    const step = change.step ?? this.executions.get(id)?.step
    this.record(event, { execution: id, project, idea, session }, summary, by, change.state === 'finishing' ? 'finishing' : step)
  }

  tell(frame: ServerFrame): void {
    for (const listener of this.listeners) listener(frame)
  }

  agentFor(project: Project, asked: CodingAgentKind | null | undefined): CodingAgentKind {
    const fallback = this.credentials.has('anthropic') ? 'claude-code' : 'demo'
    return asked ?? project.defaults.codingAgent ?? fallback
  }

  #stateOf(kind: string, id: string): { state?: unknown } {
    const states: Record<string, Map<string, unknown>> = {
      project: this.projects, idea: this.ideas, execution: this.executions, session: this.sessions, node: this.nodes, workspace: this.workspaces,
    }
    const state = states[kind]?.get(id)
    return state === undefined ? {} : { state: structuredClone(state) }
  }

  private putText(message: string, isComplete: boolean): void {
    const open = this.openTexts.get(message)
    if (open === undefined) return
    this.put(open.session, {
      item: 'message',
      key: message,
      position: 0,
      at: this.now(),
      author: 'agent',
      kind: open.kind,
      text: open.chunks.join(''),
      nChunks: open.chunks.length,
      isComplete,
      isTruncated: false,
      isQueued: false,
    })
  }

  private countExecuting(id: string): void {
    const project = this.projects.get(id)
    if (project === undefined) return
    const nExecuting = [...this.ideas.values()].filter(
      (idea) => idea.project === id && idea.stage === 'executing',
    ).length
    this.projects.set(id, { ...project, nExecuting, lastActivityAt: this.now() })
  }
}

const PROJECTIONS = ['chat_search', 'chat_transcript', 'execution_timeline', 'idea_board', 'node_fleet', 'workspace_list']

function runningProjection(name: string): Projection {
  return { name, state: 'running', position: 0, lag: 0 }
}

const ITEM_EVENTS = {
  message: 'MessageRecorded',
  tool_call: 'ToolCallRecorded',
  plan: 'PlanRecorded',
  permission: 'PermissionRequested',
  turn_end: 'TurnEnded',
  notice: 'Noticed',
} satisfies Record<Item['item'], string>

function summaryOf(item: Item): string {
  switch (item.item) {
    case 'message':
      return item.text.slice(0, 80)
    case 'tool_call':
    case 'permission':
      return item.title
    case 'plan':
      return `A plan of ${item.entries.length} entries`
    case 'turn_end':
      return `The turn ended: ${item.reason}`
    case 'notice':
      return item.text
  }
}

type Ids = { [Name in 'project' | 'idea' | 'execution' | 'session']?: string | null | undefined }

function idsIn({ project, idea, execution, session }: Ids): { project?: string; idea?: string; execution?: string; session?: string } {
  return {
    ...(project ? { project } : {}),
    ...(idea ? { idea } : {}),
    ...(execution ? { execution } : {}),
    ...(session ? { session } : {}),
  }
}

function subjectOf(touched: Touched): [string, string] {
  const { workspace, node, session, execution, idea, project } = touched
  if (workspace) return ['workspace', workspace]
  if (node) return ['node', node]
  if (execution) return ['execution', execution]
  if (session) return ['session', session]
  if (idea) return ['idea', idea]
  return ['project', project ?? '']
}
