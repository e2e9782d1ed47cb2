import type { TimelineEntry } from '~/api/types'
import { fullTime, timeOfDay } from '~/lib/time'

/** Everything recorded about an execution, in the order of the log. */
export function Timeline({ entries }: { entries: readonly TimelineEntry[] }) {
  if (entries.length === 0) return <p className="soft">Nothing is recorded yet.</p>
  return (
    <ol className="timeline">
      {entries.map((entry) => (
        <li key={`${entry.position}-${entry.summary}`} id={`event-${entry.position}`}>
          <time dateTime={entry.at} title={fullTime(entry.at)}>
            {timeOfDay(entry.at)}
          </time>
          <span className="stream-kind">{entry.kind}</span>
          <span className="timeline-text">
            {entry.summary || entry.event}
            <span className="timeline-meta">
              <a href={`#event-${entry.position}`}>{entry.position}</a> {entry.event},{' '}
              by {entry.actor}
              {entry.cause && 'position' in entry.cause ? (
                <>
                  , because of <a href={`#event-${entry.cause.position}`}>{entry.cause.position}</a>
                </>
              ) : null}
            </span>
          </span>
        </li>
      ))}
    </ol>
  )
}
