import type { TimelineEntry } from '~/api/types'
import { fullTime, timeOfDay } from '~/lib/time'

/** Whoever signed in is the owner: there is one account. */
function nameOf(actor: string): string {
  return actor.startsWith('account/') ? 'you' : actor
}

/** Everything recorded about an execution, in the order of the log. */
export function Timeline({ entries }: { entries: readonly TimelineEntry[] }) {
  if (entries.length === 0) return <p className="soft">Nothing is recorded yet.</p>
  return (
    <ol className="timeline">
      {entries.map((entry) => (
        <li key={entry.position} id={`event-${entry.position}`}>
          <time dateTime={entry.at} title={fullTime(entry.at)}>
            {timeOfDay(entry.at)}
          </time>
          <span className="stream-kind">{entry.stream.kind}</span>
          <span className="timeline-text">
            {entry.summary || entry.event}
            <span className="timeline-meta">
              <a href={`#event-${entry.position}`}>{entry.position}</a> {entry.event},{' '}
              <span title={entry.by}>by {nameOf(entry.by)}</span>
              {entry.causedBy ? (
                <>
                  , because of <a href={`#event-${entry.causedBy}`}>{entry.causedBy}</a>
                </>
              ) : null}
            </span>
          </span>
        </li>
      ))}
    </ol>
  )
}
