import { describe, expect, test } from 'vitest'
import type { Phase, TimelineEvent } from '~/api/types'
import {
  changedPaths,
  kindCounts,
  neighbourStop,
  ofKinds,
  positionIn,
  stateLines,
  stopIndex,
  stopsOf,
  stripOf,
  toggled,
} from '~/lib/timeline'

const REQUESTED = '2026-01-01T12:00:00Z'
const NOW = new Date('2026-01-01T12:01:40Z')

describe('the strip', () => {
  test('puts phases where they happened, attempts of one phase on one line', () => {
    const { rows, totalMs } = stripOf(
      [phase('node_selection', 0, 10), phase('workspace_creation', 10, 20, 'failed'), { ...phase('workspace_creation', 30, 50), attempt: 2 }],
      REQUESTED,
      '2026-01-01T12:01:40Z',
      NOW,
    )
    expect(totalMs).toBe(100_000)
    expect(rows.map(({ name, bars }) => [name, bars.length])).toEqual([['node_selection', 1], ['workspace_creation', 2]])
    expect(rows[1]?.bars[1]).toMatchObject({ from: 0.3, width: 0.2, elapsedMs: 20_000 })
  })

  test('lets what goes on reach to now, and what never ended in time stay in the strip', () => {
    const active = phase('running', 20, undefined, 'active')
    expect(stripOf([active], REQUESTED, null, NOW)).toMatchObject({ totalMs: 100_000, rows: [{ bars: [{ from: 0.2, width: 0.8 }] }] })
    const ended = stripOf([{ ...active, elapsedMs: 5_000 }], REQUESTED, '2026-01-01T12:00:40Z', NOW)
    expect(ended.rows[0]?.bars[0]).toMatchObject({ from: 0.5, width: 0.125 })
  })

  test('is sound for clocks that disagree and for nothing at all', () => {
    const [row] = stripOf([{ ...phase('running', -5, -9) }], REQUESTED, null, NOW).rows
    expect(row?.bars[0]).toMatchObject({ from: 0, width: 0 })
    expect(stripOf([], REQUESTED, null, NOW)).toEqual({ rows: [], totalMs: 1 })
  })
})

describe('the scrubber', () => {
  const stops = stopsOf([event(12), event(7), event(12), event(30)])

  test('stands at each position once', () => expect(stops).toEqual([7, 12, 30]))

  test.each([
    [undefined, 2],
    [30, 2],
    [29, 1],
    [7, 0],
    [1, 0],
    [999, 2],
  ])('at %s it is at stop %s', (at, index) => expect(stopIndex(stops, at)).toBe(index))

  test('goes to its neighbours and ends at the ends', () => {
    expect(neighbourStop(stops, 12, 1)).toBe(30)
    expect(neighbourStop(stops, undefined, -1)).toBe(12)
    expect(neighbourStop(stops, 30, 1)).toBeUndefined()
    expect(neighbourStop(stops, 7, -1)).toBeUndefined()
    expect(neighbourStop([], undefined, -1)).toBeUndefined()
  })

  test.each([
    ['42', 42],
    ['0', undefined],
    ['-3', undefined],
    ['4e2', undefined],
    ['99999999999999999999', undefined],
    [null, undefined],
  ])('reads ?at=%s as %s', (text, position) => expect(positionIn(text)).toBe(position))
})

describe('kinds', () => {
  const entries = [event(1, 'git'), event(2, 'idea'), event(3, 'git')]

  test('are counted in their order and filtered', () => {
    expect(kindCounts(entries)).toEqual([['idea', 1], ['git', 2]])
    expect(ofKinds(entries, new Set())).toHaveLength(3)
    expect(ofKinds(entries, new Set(['git'])).map(({ position }) => position)).toEqual([1, 3])
  })

  test('are switched on and off', () => {
    const on = toggled(new Set<string>(), 'git')
    expect([...on]).toEqual(['git'])
    expect([...toggled(on, 'git')]).toEqual([])
  })
})

describe('a state', () => {
  test('is written as lines without what is empty', () => {
    const state = { Running: { slots: 3, placed: [{ workspace: 'w' }], warmUntil: null, labels: {}, tags: [] } }
    expect(stateLines(state).map(({ depth, name, value }) => [depth, name, value])).toEqual([
      [0, 'Running', undefined],
      [1, 'slots', '3'],
      [1, 'placed', undefined],
      [2, '1', undefined],
      [3, 'workspace', 'w'],
    ])
    expect(stateLines('Unknown')).toEqual([{ path: '', depth: 0, name: 'state', value: 'Unknown' }])
  })

  test('shows what an event changed', () => {
    const before = { step: 'running', tries: 1, gone: true }
    expect([...changedPaths(before, { step: 'running', tries: 2, reason: 'lost' })]).toEqual(['/tries', '/reason'])
    expect(changedPaths(undefined, before).size).toBe(3)
  })
})

function phase(name: Phase['phase'], from: number, to: number | undefined, state: Phase['state'] = 'done'): Phase {
  const at = (seconds: number) => new Date(new Date(REQUESTED).getTime() + seconds * 1_000).toISOString()
  return {
    phase: name, attempt: 1, state, startedAt: at(from), endedAt: to === undefined ? null : at(to),
    elapsedMs: ((to ?? from) - from) * 1_000, firstPosition: 1, reason: null, lastPosition: null,
  }
}

function event(position: number, kind: TimelineEvent['kind'] = 'session'): TimelineEvent {
  return {
    position, kind, at: REQUESTED, stream: 's', sequence: 1, event: 'E', summary: 'happened', actor: 'SAM',
    attempt: 1, sinceMs: 0, cause: null, phase: null, tookMs: null,
  }
}
