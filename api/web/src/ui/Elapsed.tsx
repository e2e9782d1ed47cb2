import { ago, clockDuration, duration, fullTime, msBetween } from '~/lib/time'
import { useNow } from '~/lib/useNow'

/** How long something took, or takes so far; not announced at every tick. */
export function Elapsed({ from, to }: { from: string; to?: string | null | undefined }) {
  const isRunning = to === undefined || to === null
  const now = useNow({ everySeconds: 1, isRunning })
  const text = isRunning ? clockDuration(msBetween(from, now)) : duration(msBetween(from, to))
  return (
    <span className="elapsed" role="timer" aria-live="off">
      {text}
    </span>
  )
}

/** When something happened, roughly; exactly on hover. */
export function Ago({ at }: { at: string }) {
  const now = useNow({ everySeconds: 30 })
  return (
    <time dateTime={at} title={fullTime(at)}>
      {ago(at, now)}
    </time>
  )
}
