import { type CSSProperties, type KeyboardEvent, useRef, useState } from 'react'
import type { Phase, Timeline } from '~/api/types'
import { stripOf } from '~/lib/timeline'
import { clockDuration, duration } from '~/lib/time'
import { useNow } from '~/lib/useNow'
import { PHASE_STATES, PHASES } from '~/lib/words'
import { Icon, type IconName } from '~/ui/Icon'

const MARKS = {
  active: 'half',
  done: 'check',
  failed: 'cross',
  skipped: 'dash',
} satisfies Record<Phase['state'], IconName>

/** Up to here the scale is in seconds. */
const SECONDS_UNTIL_MS = 60_000

/**
 * The phases of an execution against time: one line each, a bar per attempt.
 *
 * The bars are one stop for the Tab key; arrow keys go from bar to bar, Enter goes to where the phase begins.
 */
export function PhaseStrip({
  timeline,
  sinceMs,
  goTo,
}: {
  timeline: Timeline
  /** Where the scrubber is, since the request; undefined at the end. */
  sinceMs: number | undefined
  goTo: (position: number) => void
}) {
  const isRunning = !timeline.endedAt
  const now = useNow({ everySeconds: 1, isRunning })
  const { rows, totalMs } = stripOf(timeline.phases, timeline.requestedAt, timeline.endedAt, now)
  const [focused, setFocused] = useState(0)
  const list = useRef<HTMLOListElement>(null)
  if (rows.length === 0) return <p className="soft">No phase has begun yet.</p>
  const onKeyDown = (event: KeyboardEvent) => {
    const bars = [...(list.current?.querySelectorAll<HTMLButtonElement>('.strip-bar') ?? [])]
    const next = nextBar(event.key, focused, bars.length)
    if (next === undefined) return
    event.preventDefault()
    setFocused(next)
    bars[next]?.focus()
  }
  const bars = rows.flatMap((row) => row.bars)
  const marker = sinceMs === undefined ? undefined : Math.min(1, sinceMs / totalMs)
  return (
    <div className="strip">
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions -- the keys belong to the bars in it */}
      <ol ref={list} aria-label="Phases" onKeyDown={onKeyDown}>
        {rows.map((row) => {
          const last = row.bars.at(-1)
          const elapsedMs = row.bars.reduce((sum, bar) => sum + bar.elapsedMs, 0)
          return (
            <li key={row.name} className="strip-row">
              <span className={`strip-name strip-${last?.phase.state ?? 'skipped'}`}>
                {last !== undefined && <Icon name={MARKS[last.phase.state]} />}
                <span>{PHASES[row.name]}</span>
                {row.bars.length > 1 && <span className="attempts">{row.bars.length} attempts</span>}
              </span>
              <span className="strip-track">
                {row.bars.map((bar) => {
                  const index = bars.indexOf(bar)
                  return (
                    <button
                      key={bar.phase.attempt}
                      type="button"
                      className={`strip-bar bar-${bar.phase.state}`}
                      style={share({ from: bar.from, width: bar.width })}
                      tabIndex={index === Math.min(focused, bars.length - 1) ? 0 : -1}
                      aria-label={said(bar.phase, bar.elapsedMs)}
                      title={said(bar.phase, bar.elapsedMs)}
                      onFocus={() => setFocused(index)}
                      onClick={() => goTo(bar.phase.firstPosition)}
                    >
                      {row.bars.length > 1 && <span aria-hidden="true">{bar.phase.attempt}</span>}
                    </button>
                  )
                })}
                {marker !== undefined && <span className="strip-marker" style={share({ from: marker, width: 0 })} />}
              </span>
              <span className="strip-elapsed">{last?.phase.state === 'skipped' ? '–' : duration(elapsedMs)}</span>
            </li>
          )
        })}
      </ol>
      <p className="strip-scale" aria-hidden="true">
        <span>0</span>
        <span>{onScale(totalMs / 2, totalMs)}</span>
        <span>{onScale(totalMs, totalMs)}</span>
      </p>
    </div>
  )
}

function onScale(ms: number, totalMs: number): string {
  return totalMs < SECONDS_UNTIL_MS ? duration(ms) : clockDuration(ms)
}

function nextBar(key: string, focused: number, n: number): number | undefined {
  switch (key) {
    case 'ArrowRight':
    case 'ArrowDown':
      return Math.min(n - 1, focused + 1)
    case 'ArrowLeft':
    case 'ArrowUp':
      return Math.max(0, focused - 1)
    case 'Home':
      return 0
    case 'End':
      return n - 1
    default:
      return undefined
  }
}

function said(phase: Phase, elapsedMs: number): string {
  const attempt = phase.attempt > 1 ? `, attempt ${phase.attempt}` : ''
  const elapsed = phase.state === 'skipped' ? '' : `, ${duration(elapsedMs)}`
  const reason = phase.reason ? `: ${phase.reason}` : ''
  return `${PHASES[phase.phase]}${attempt}, ${PHASE_STATES[phase.state].label}${elapsed}${reason}`
}

function share({ from, width }: { from: number; width: number }): CSSProperties {
  return { left: `${from * 100}%`, width: `${width * 100}%` }
}
