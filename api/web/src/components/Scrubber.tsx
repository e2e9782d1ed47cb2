import type { TimelineEvent } from '~/api/types'
import { neighbourStop, stopIndex } from '~/lib/timeline'
import { offset, timeOfDay } from '~/lib/time'
import { Button, IconButton } from '~/ui/Button'
import { CopyButton } from '~/ui/CopyButton'

/** Goes through an execution event by event. Without a position it stands at the end, and follows what happens. */
export function Scrubber({
  stops,
  at,
  event,
  isRunning,
  link,
  goTo,
}: {
  stops: readonly number[]
  at: number | undefined
  /** The event that it stands at. */
  event: TimelineEvent | undefined
  isRunning: boolean
  link: string
  goTo: (position: number | undefined) => void
}) {
  const index = stopIndex(stops, at)
  const [before, after] = [neighbourStop(stops, at, -1), neighbourStop(stops, at, 1)]
  const where = event === undefined ? 'nothing yet' : `${offset(event.sinceMs)}, ${event.summary}`
  return (
    <section className="scrubber" aria-label="Moment">
      <IconButton
        icon="chevron"
        className="turn-back"
        label="Previous event"
        disabled={before === undefined}
        onClick={() => goTo(before)}
      />
      <input
        type="range"
        aria-label="Position in the execution"
        aria-valuetext={`Event ${index + 1} of ${stops.length}: ${where}`}
        min={0}
        max={Math.max(0, stops.length - 1)}
        step={1}
        value={index}
        onChange={({ target }) => goTo(stops[Number(target.value)])}
      />
      <IconButton
        icon="chevron"
        label="Next event"
        disabled={after === undefined}
        onClick={() => goTo(after)}
      />
      <p className="scrubber-where">
        {at === undefined ? (
          <span className="soft">{isRunning ? 'Now, following' : 'At the end'}</span>
        ) : (
          event !== undefined && (
            <>
              <strong>{offset(event.sinceMs)}</strong>
              <span className="soft">
                <span className="scrubber-clock">{timeOfDay(event.at)}, </span>position {event.position}
              </span>
            </>
          )
        )}
        <CopyButton text={link} label={at === undefined ? 'Copy the link to this execution' : 'Copy the link to this moment'} />
        {at !== undefined && (
          <Button look="quiet" icon="cross" onClick={() => goTo(undefined)}>
            {isRunning ? 'Back to now' : 'To the end'}
          </Button>
        )}
      </p>
    </section>
  )
}
