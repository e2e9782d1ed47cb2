// The pure part of the timeline page: where phases stand on the strip, which events are in sight, where the scrubber is.

import type { Phase, PhaseName, TimelineEvent, TimelineKind } from '~/api/types'

/** A stretch on the strip; `from` and `width` are shares of the whole, 0 to 1. */
export interface Bar {
  phase: Phase
  from: number
  width: number
  /** In milliseconds; so far, if it goes on. */
  elapsedMs: number
}

export interface StripRow {
  name: PhaseName
  bars: Bar[]
}

export interface Strip {
  rows: StripRow[]
  totalMs: number
}

/** Puts each phase on a line of its own, with its attempts one after the other. What goes on reaches to `now`. */
export function stripOf(phases: readonly Phase[], requestedAt: string, endedAt: string | null | undefined, now: Date): Strip {
  const start = ms(requestedAt)
  const spans = phases.map((phase) => {
    const from = Math.max(0, ms(phase.startedAt) - start)
    const isOpen = phase.state === 'active' && !endedAt
    const to = phase.endedAt ? ms(phase.endedAt) - start : isOpen ? now.getTime() - start : from + phase.elapsedMs
    return { phase, from, to: Math.max(from, to) }
  })
  const end = endedAt ? ms(endedAt) - start : 0
  const totalMs = Math.max(1, end, ...spans.map(({ to }) => to))
  const rows: StripRow[] = []
  for (const { phase, from, to } of spans) {
    const bar = { phase, from: from / totalMs, width: (to - from) / totalMs, elapsedMs: to - from }
    const row = rows.find(({ name }) => name === phase.phase)
    if (row === undefined) rows.push({ name: phase.phase, bars: [bar] })
    else row.bars.push(bar)
  }
  return { rows, totalMs }
}

/** Where the scrubber can stand: each position once, though several entries may share one. */
export function stopsOf(entries: readonly TimelineEvent[]): number[] {
  return [...new Set(entries.map(({ position }) => position))].sort((a, b) => a - b)
}

/** The stop at or before a position; without a position the last. */
export function stopIndex(stops: readonly number[], at: number | undefined): number {
  if (at === undefined) return Math.max(0, stops.length - 1)
  return Math.max(0, stops.findLastIndex((stop) => stop <= at))
}

/** The neighbouring stop; none at either end. */
export function neighbourStop(stops: readonly number[], at: number | undefined, step: 1 | -1): number | undefined {
  return stops[stopIndex(stops, at) + step]
}

/** `?at=` as a position; what is no position is as if it were not there. */
export function positionIn(text: string | null): number | undefined {
  const position = text === null || !/^\d+$/.test(text) ? 0 : Number(text)
  return position > 0 && Number.isSafeInteger(position) ? position : undefined
}

/** How many events there are of each kind, in the order in which kinds are shown; kinds without any are left out. */
export function kindCounts(entries: readonly TimelineEvent[]): [TimelineKind, number][] {
  return TIMELINE_KINDS.map((kind): [TimelineKind, number] => [
    kind,
    entries.filter((entry) => entry.kind === kind).length,
  ]).filter(([, n]) => n > 0)
}

/** Events of the chosen kinds; nothing chosen means all. */
export function ofKinds(entries: readonly TimelineEvent[], kinds: ReadonlySet<TimelineKind>): TimelineEvent[] {
  return kinds.size === 0 ? [...entries] : entries.filter(({ kind }) => kinds.has(kind))
}

export function toggled<T>(set: ReadonlySet<T>, value: T): Set<T> {
  const next = new Set(set)
  if (!next.delete(value)) next.add(value)
  return next
}

const TIMELINE_KINDS: readonly TimelineKind[] = ['idea', 'execution', 'process', 'node', 'workspace', 'session', 'git']

/** One line of a state that is written as an indented tree. */
export interface StateLine {
  /** Unique in the state. */
  path: string
  depth: number
  name: string
  /** Absent where the lines below hold the value. */
  value?: string
}

/** Writes a JSON value as lines. What holds nothing is left out: it only takes room. */
export function stateLines(state: unknown): StateLine[] {
  const lines: StateLine[] = []
  const visit = (value: unknown, path: string, depth: number, name: string) => {
    if (isEmpty(value)) return
    if (typeof value !== 'object' || value === null) {
      lines.push({ path, depth, name, value: typeof value === 'string' ? value : JSON.stringify(value) })
      return
    }
    const isRoot = path === ''
    if (!isRoot) lines.push({ path, depth, name })
    for (const [key, inner] of Object.entries(value)) {
      visit(inner, `${path}/${key}`, isRoot ? depth : depth + 1, Array.isArray(value) ? `${Number(key) + 1}` : key)
    }
  }
  visit(state, '', 0, 'state')
  return lines
}

/** Paths of the lines that are new or different. */
export function changedPaths(before: unknown, after: unknown): Set<string> {
  const known = new Map(stateLines(before).map(({ path, value }) => [path, value]))
  return new Set(
    stateLines(after)
      .filter(({ path, value }) => !known.has(path) || known.get(path) !== value)
      .map(({ path }) => path),
  )
}

function isEmpty(value: unknown): boolean {
  if (value === null || value === undefined) return true
  return typeof value === 'object' && Object.values(value).every(isEmpty)
}

function ms(at: string): number {
  return new Date(at).getTime()
}
