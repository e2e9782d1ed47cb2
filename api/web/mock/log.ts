// The simulated log: every event with who, why, and what its stream was like afterwards.
//
// Deliberately simple: an event carries the state that it led to, so that a moment is the newest state of each stream.

import { randomUUID } from 'node:crypto'
import type {
  ActivityPage,
  AuditPage,
  Item,
  Moment,
  Phase,
  PhaseName,
  Timeline,
  TimelineEvent,
  TimelineKind,
} from '../src/api/types.ts'

export interface LoggedEvent {
  position: number
  at: string
  kind: string
  stream: string
  sequence: number
  event: string
  summary: string
  actor: string
  command: string
  cause?: number
  project?: string
  idea?: string
  execution?: string
  session?: string
  phase?: PhaseName
  attempt?: number
  tookMs?: number
  /** What the stream was like afterwards. */
  state?: unknown
  /** What it put into the conversation. */
  item?: Item
}

export type NewEvent = Omit<LoggedEvent, 'sequence' | 'command' | 'cause'>

const COARSE = new Set([
  'ProjectCreated', 'ProjectChanged', 'IdeaCreated', 'IdeaDone', 'IdeaParked', 'ExecutionRequested', 'ExecutionDone',
  'ExecutionFailed', 'ExecutionCancelled', 'PermissionAsked', 'PromptLost', 'Continued',
])
const KINDS: readonly string[] = ['idea', 'execution', 'node', 'workspace', 'session', 'git', 'process']

export class Log {
  readonly events: LoggedEvent[] = []

  append(event: NewEvent): void {
    const last = this.events.findLast((known) => known.execution !== undefined && known.execution === event.execution)
    this.events.push({
      ...event,
      sequence: this.events.filter(({ stream }) => stream === event.stream).length + 1,
      command: randomUUID(),
      ...(last === undefined ? {} : { cause: last.position }),
    })
  }

  timeline(execution: string, idea: string, phases: Phase[], requestedAt: string, endedAt: string | null): Timeline {
    const own = this.events.filter((event) => event.execution === execution)
    const entries = own.map((event): TimelineEvent => ({
      position: event.position,
      at: event.at,
      kind: kindOf(event.kind),
      stream: event.stream,
      sequence: event.sequence,
      event: event.event,
      summary: event.summary,
      actor: event.actor,
      cause: event.cause === undefined ? { command: event.command } : { position: event.cause },
      attempt: event.attempt ?? 1,
      phase: event.phase ?? null,
      sinceMs: Math.max(0, new Date(event.at).getTime() - new Date(requestedAt).getTime()),
      tookMs: event.tookMs ?? null,
    }))
    return { execution, idea, position: own.at(-1)?.position ?? 0, requestedAt, endedAt, phases, entries }
  }

  moment(execution: string, session: string, position: number): Moment | undefined {
    const until = this.events.filter((event) => event.execution === execution && event.position <= position)
    const last = until.at(-1)
    if (last === undefined) return undefined
    const newest = new Map(until.filter(({ state }) => state !== undefined).map((event) => [event.stream, event]))
    const items = new Map(
      this.events
        .filter((event) => event.session === session && event.position <= position)
        .flatMap(({ item }): [string, Item][] => (item === undefined ? [] : [[item.key, item]])),
    )
    return {
      position,
      at: last.at,
      aggregates: [...newest.values()].map(({ kind, stream, sequence, state }) => ({ kind, id: stream, sequence, state, isErased: false })),
      chat: { session, hasMore: false, items: [...items.values()].sort((a, b) => a.position - b.position) },
    }
  }

  activity(project: string, before: number, limit: number): ActivityPage {
    const found = this.events.filter((event) => event.project === project && COARSE.has(event.event) && event.position < before)
    const page = found.slice(-limit).reverse()
    return {
      entries: page.map(({ position, at, idea, execution, session, event, summary, actor }) => ({
        position, at, event, summary, actor, idea: idea ?? null, execution: execution ?? null, session: session ?? null,
      })),
      next: nextOf(page, found.length),
    }
  }

  audit(query: URLSearchParams): AuditPage {
    const found = this.#audited(query)
    const page = found.slice(-Number(query.get('limit') ?? 50)).reverse()
    return { entries: page.map(auditEntry), next: nextOf(page, found.length) }
  }

  auditAs(format: string, query: URLSearchParams): string {
    const entries = this.#audited(query).map(auditEntry)
    if (format === 'ndjson') return entries.map((entry) => `${JSON.stringify(entry)}\n`).join('')
    const rows = entries.map((entry) => [entry.position, entry.at, entry.actor, entry.kind, entry.event, entry.summary].map((cell) => `"${String(cell).replaceAll('"', '""')}"`).join(','))
    return `position,at,actor,kind,event,summary\n${rows.join('\n')}\n`
  }

  #audited(query: URLSearchParams): LoggedEvent[] {
    const is = (name: 'actor' | 'kind' | 'event' | 'project', value: string | undefined) => !query.get(name) || query.get(name) === value
    const before = Number(query.get('before') ?? Number.POSITIVE_INFINITY)
    const [from, until] = [query.get('from') ?? '', query.get('until') ?? '9999']
    return this.events.filter(
      (event) =>
        event.position < before && event.at >= from && event.at < until &&
        is('actor', event.actor) && is('kind', event.kind) && is('event', event.event) && is('project', event.project),
    )
  }
}

function auditEntry({ position, at, actor, kind, stream, sequence, event, summary, command, cause, project }: LoggedEvent) {
  return { position, at, actor, kind, stream, sequence, event, summary, command, cause: cause === undefined ? null : { position: cause }, project: project ?? null }
}

function nextOf(page: LoggedEvent[], nFound: number): number | null {
  return nFound > page.length ? (page.at(-1)?.position ?? null) : null
}

function kindOf(kind: string): TimelineKind {
  return KINDS.includes(kind) ? (kind as TimelineKind) : 'process'
}
