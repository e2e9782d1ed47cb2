// The log as the product: timelines, moments, activity, audit, projections, search, erasing.

import type { Execution, Phase, PhaseName, Projection, SearchHit } from '../src/api/types.ts'
import { accepted, type Answer, type Body, gone, ok, problem, type Route, text } from './answers.ts'
import type { LoggedEvent } from './log.ts'
import type { World } from './world.ts'

/** Who is signed in. */
export const OWNER = 'Owner'

const VERIFY_LIMITS = [
  'Events after the newest signed head: nothing signs them yet.',
  'A log and all heads replaced together by whoever holds the signing key.',
  'Heads that were removed both from the database and from the file beside it.',
]
/** How much longer a rebuild goes on once it was seen. */
const REBUILD_MS = 5_000
const SNIPPET_BEFORE = 60
const SNIPPET_CHARS = 240

export const ACCOUNT_ROUTES: Route[] = [
  ['GET', /^\/api\/executions\/([^/]+)\/timeline$/, timeline],
  ['GET', /^\/api\/executions\/([^/]+)\/at\/(\d+)$/, moment],
  ['GET', /^\/api\/projects\/([^/]+)\/activity$/, (world, [id = ''], _, query) => ok(world.log.activity(id, Number(query.get('before') ?? Number.POSITIVE_INFINITY), Number(query.get('limit') ?? 50)))],
  ['DELETE', /^\/api\/projects\/([^/]+)$/, erase],
  ['DELETE', /^\/api\/account$/, eraseAccount],
  ['GET', /^\/api\/audit$/, (world, _, __, query) => ok(world.log.audit(query))],
  ['GET', /^\/api\/audit\/export$/, (world, _, __, query) => ({
    status: 200,
    text: world.log.auditAs(query.get('format') ?? 'ndjson', query),
    file: `sam-audit.${query.get('format') ?? 'ndjson'}`,
  })],
  ['GET', /^\/api\/audit\/heads$/, heads],
  ['POST', /^\/api\/audit\/verify$/, verify],
  ['GET', /^\/api\/projections$/, projections],
  ['POST', /^\/api\/projections\/([^/]+)\/(retry|rebuild)$/, repair],
  ['GET', /^\/api\/search$/, search],
]

function timeline(world: World, [id = '']: string[]): Answer {
  const execution = world.executions.get(id)
  if (execution === undefined) return gone()
  const { idea, requestedAt, endedAt } = execution
  return ok(world.log.timeline(id, idea, phasesOf(world, execution), requestedAt, endedAt ?? null))
}

function moment(world: World, [id = '', position = '0']: string[]): Answer {
  const execution = world.executions.get(id)
  const found = execution && world.log.moment(id, execution.session, Number(position))
  return found === undefined ? gone() : ok(found)
}

/** The steps as they are, attempts as the log has them, then finishing and the push. */
function phasesOf(world: World, execution: Execution): Phase[] {
  const own = world.log.events.filter((event) => event.execution === execution.id)
  const names = execution.steps.filter(({ state }) => state !== 'pending').map(({ step }): PhaseName => step)
  const phases = [...names, 'finishing' as const, 'push' as const].flatMap((name): Phase[] => {
    const events = own.filter(({ phase }) => phase === name)
    const attempts = [...new Set(events.map(({ attempt = 1 }) => attempt))]
    return attempts.map((attempt) =>
      phaseOf(execution, name, attempt, events.filter((event) => (event.attempt ?? 1) === attempt), attempts.length),
    )
  })
  return phases
}

function phaseOf(execution: Execution, name: PhaseName, attempt: number, events: LoggedEvent[], nAttempts: number): Phase {
  const step = execution.steps.find((known) => known.step === name)
  const [first, last] = [events[0], events.at(-1)]
  const isLast = attempt === nAttempts
  const startedAt = (attempt === 1 ? step?.startedAt : undefined) ?? first?.at ?? execution.requestedAt
  const isOver = !isLast || (step === undefined ? Boolean(execution.endedAt) : step.state !== 'active')
  const endedAt = isOver ? ((isLast ? step?.endedAt : undefined) ?? last?.at ?? startedAt) : null
  const state = isLast && step !== undefined && step.state !== 'pending' ? step.state : !isLast ? 'failed' : isOver ? 'done' : 'active'
  return {
    phase: name,
    attempt,
    state,
    reason: (isLast ? step?.reason : last?.summary) ?? null,
    startedAt,
    endedAt,
    elapsedMs: new Date(endedAt ?? Date.now()).getTime() - new Date(startedAt).getTime(),
    firstPosition: first?.position ?? 0,
    lastPosition: isOver ? (last?.position ?? null) : null,
  }
}

function erase(world: World, [id = '']: string[], body: Body): Answer {
  const project = world.projects.get(id)
  if (project === undefined) return gone()
  if (text(body, 'confirm') !== project.name) {
    return problem(422, 'not_confirmed', `Type the project's name, ${project.name}, to erase it.`)
  }
  return accepted(forget(world, id))
}

function eraseAccount(world: World, _: string[], body: Body): Answer {
  if (text(body, 'confirm') !== OWNER) {
    return problem(422, 'not_confirmed', `Type the account's name, ${OWNER}, to erase it.`)
  }
  for (const id of [...world.projects.keys()]) forget(world, id)
  world.credentials.clear()
  return { ...accepted(world.record('AccountErased', {}, 'An account was erased', OWNER)), signsOut: true }
}

/** Takes away what there is of a project. */
function forget(world: World, id: string): number {
  world.projects.delete(id)
  for (const session of [...world.sessions.values()].filter((known) => known.project === id)) {
    world.items.delete(session.id)
    world.sessions.delete(session.id)
  }
  for (const event of world.log.events) {
    if (event.project === id) event.summary = 'erased'
  }
  return world.record('ProjectErased', { project: id }, 'A project was erased', OWNER)
}

function heads(world: World): Answer {
  const last = world.log.events.at(-1)
  const covered = Math.max(0, world.position - 3)
  return ok({
    installation: 'simulated',
    epoch: 1,
    publicKey: 'MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=',
    newest: last === undefined ? null : { position: covered, at: last.at, hash: '9c0e57…'.padEnd(64, '4'), signature: 'c2lnbmVk' },
    nHeads: Math.ceil(world.position / 1_000),
    nUnprotected: world.position - covered,
    headPosition: world.position,
    writtenTo: '/var/lib/sam/heads.ndjson',
  })
}

function verify(world: World): Answer {
  const nStreams = new Set(world.log.events.map(({ stream }) => stream)).size
  const damaged = world.damaged.map(({ kind, stream, sequence }) => ({
    kind: 'changed',
    position: world.log.events.find((event) => event.stream === stream)?.position ?? null,
    stream,
    what: `Event ${sequence} of ${kind} ${stream.slice(0, 8)} is not what was hashed.`,
  }))
  return ok({ isIntact: damaged.length === 0, nEvents: world.log.events.length, nStreams, nHeads: 5, nUnprotected: 3, findings: damaged, nMore: 0, notes: [], limits: VERIFY_LIMITS })
}

function projections(world: World): Answer {
  const all = [...world.projections.values()].map((projection) => {
    const position = projection.state === 'parked' ? (projection.parkedPosition ?? 1) - 1 : world.position
    return { ...projection, position, lag: world.position - position }
  })
  for (const projection of world.projections.values()) {
    if (projection.state === 'rebuilding') endLater(world, projection)
  }
  return ok({ head: world.position, projections: all, damagedStreams: world.damaged })
}

/** Ends a rebuild some time after a page has seen it, not after it was asked for: a slow page looks late. */
function endLater(world: World, seen: Projection): void {
  const { name } = seen
  setTimeout(() => {
    if (world.projections.get(name) === seen) world.projections.set(name, { ...seen, state: 'running' })
  }, REBUILD_MS)
}

function repair(world: World, [name = '']: string[]): Answer {
  const projection = world.projections.get(name)
  if (projection === undefined) return gone()
  world.projections.set(name, { name, state: 'rebuilding', position: 0, lag: 0 })
  return accepted(world.position)
}

function search(world: World, _: string[], __: Body, query: URLSearchParams): Answer {
  const words = (query.get('q') ?? '').toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
  if (words.length === 0) return problem(422, 'query_without_words', 'Give `q` at least one word of letters or digits.')
  const [project, before, limit] = [query.get('project'), Number(query.get('before') ?? Number.POSITIVE_INFINITY), Number(query.get('limit') ?? 20)]
  const hits = [...world.items].flatMap(([id, items]) => {
    const session = world.sessions.get(id)
    if (session === undefined || (project && session.project !== project)) return []
    return [...items.values()].flatMap((item): SearchHit[] => {
      if (item.item !== 'message' || item.kind === 'thought' || item.position >= before) return []
      if (!holds(item.text, words)) return []
      return [{
        project: session.project, session: id, sessionTitle: session.title, idea: session.idea ?? null, message: item.key, position: item.position,
        at: item.at, role: item.author === 'person' ? 'user' : 'agent', snippet: snippet(item.text, words),
      }]
    })
  }).sort((a, b) => b.position - a.position)
  const page = hits.slice(0, limit)
  return ok({ hits: page, next: hits.length > limit ? (page.at(-1)?.position ?? null) : null, position: world.position })
}

/** All words occur; of the last one, its beginning is enough. */
function holds(text: string, words: readonly string[]): boolean {
  const said = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
  return words.every((word, index) => said.some((one) => one === word || (index === words.length - 1 && one.startsWith(word))))
}

function snippet(text: string, words: string[]): SearchHit['snippet'] {
  const pattern = new RegExp(`((?<![\\p{L}\\p{N}])(?:${words.join('|')})[\\p{L}\\p{N}]*)`, 'giu')
  const start = Math.max(0, text.search(pattern) - SNIPPET_BEFORE)
  const shown = (start > 0 ? '…' : '') + text.slice(start, start + SNIPPET_CHARS)
  return shown.split(pattern).filter(Boolean).map((part) => ({ text: part, isHit: words.some((word) => part.toLowerCase().startsWith(word)) }))
}
