import { useVirtualizer } from '@tanstack/react-virtual'
import { useEffect, useRef } from 'react'
import type { TimelineEvent, TimelineKind } from '~/api/types'
import { kindCounts, ofKinds, toggled } from '~/lib/timeline'
import { duration, fullTime, offset } from '~/lib/time'
import { KINDS } from '~/lib/words'
import { Icon, type IconName } from '~/ui/Icon'

export const KIND_ICONS = {
  idea: 'list',
  execution: 'run',
  process: 'gear',
  node: 'server',
  workspace: 'folder',
  session: 'chat',
  git: 'branch',
} satisfies Record<TimelineKind, IconName>

const ROW_HEIGHT_GUESS = 48

/** Everything recorded about an execution, in the order of the log; only what is in sight is drawn. */
export function EventList({
  entries,
  kinds,
  setKinds,
  at,
  isRunning,
  goTo,
}: {
  entries: readonly TimelineEvent[]
  /** The chosen kinds; none means all. */
  kinds: ReadonlySet<TimelineKind>
  setKinds: (kinds: ReadonlySet<TimelineKind>) => void
  at: number | undefined
  isRunning: boolean
  goTo: (position: number) => void
}) {
  const shown = ofKinds(entries, kinds)
  const goToCause = (position: number) => {
    // What caused it may be of a kind that is filtered out.
    if (!shown.some((entry) => entry.position === position)) setKinds(new Set())
    goTo(position)
  }
  return (
    <section className="events" aria-label="Events">
      <div className="chips" role="group" aria-label="Kinds of events">
        <button type="button" className="chip" aria-pressed={kinds.size === 0} onClick={() => setKinds(new Set())}>
          All <span className="chip-count">{entries.length}</span>
        </button>
        {kindCounts(entries).map(([kind, n]) => (
          <button
            key={kind}
            type="button"
            className="chip"
            aria-pressed={kinds.has(kind)}
            onClick={() => setKinds(toggled(kinds, kind))}
          >
            <Icon name={KIND_ICONS[kind]} />
            {KINDS[kind]} <span className="chip-count">{n}</span>
          </button>
        ))}
      </div>
      {shown.length === 0 ? (
        <p className="soft">Nothing is recorded yet.</p>
      ) : (
        <Rows entries={shown} at={at} isFollowing={isRunning && at === undefined} goTo={goTo} goToCause={goToCause} />
      )}
    </section>
  )
}

function Rows({
  entries,
  at,
  isFollowing,
  goTo,
  goToCause,
}: {
  entries: readonly TimelineEvent[]
  at: number | undefined
  /** The newest event stays in sight. */
  isFollowing: boolean
  goTo: (position: number) => void
  goToCause: (position: number) => void
}) {
  const scroller = useRef<HTMLDivElement>(null)
  // Its functions are never passed on to memoised children, which is what the rule guards against.
  // eslint-disable-next-line react-hooks/incompatible-library
  const list = useVirtualizer({
    count: entries.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT_GUESS,
    overscan: 8,
  })
  const current = at === undefined ? -1 : entries.findLastIndex(({ position }) => position <= at)
  const n = entries.length
  // Scrolling is the browser's: the event that is looked at comes into sight, or what happens now.
  useEffect(() => {
    if (current >= 0) list.scrollToIndex(current, { align: 'auto' })
    else if (isFollowing && n > 0) list.scrollToIndex(n - 1, { align: 'end' })
  }, [list, current, isFollowing, n])
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a region that scrolls must be reachable by keyboard
    <div ref={scroller} className="event-scroll" tabIndex={0} role="region" aria-label="Events in order">
      <div role="list" style={{ height: list.getTotalSize() }}>
        {list.getVirtualItems().map(({ index, key, start }) => {
          const entry = entries[index]
          if (entry === undefined) return null
          return (
            <div
              key={key}
              ref={list.measureElement}
              data-index={index}
              role="listitem"
              aria-setsize={n}
              aria-posinset={index + 1}
              aria-current={index === current ? 'true' : undefined}
              className={index === current ? 'event event-current' : current >= 0 && index > current ? 'event event-later' : 'event'}
              style={{ transform: `translateY(${start}px)` }}
            >
              <EventRow entry={entry} goTo={goTo} goToCause={goToCause} />
            </div>
          )
        })}
      </div>
    </div>
  )
}

function EventRow({
  entry,
  goTo,
  goToCause,
}: {
  entry: TimelineEvent
  goTo: (position: number) => void
  goToCause: (position: number) => void
}) {
  return (
    <>
      <time dateTime={entry.at} title={fullTime(entry.at)}>
        {offset(entry.sinceMs)}
      </time>
      <span className="event-kind" title={KINDS[entry.kind]}>
        <Icon name={KIND_ICONS[entry.kind]} />
        <span className="sr-only">{KINDS[entry.kind]}</span>
      </span>
      <div className="event-text">
        <button type="button" className="event-summary" data-nav onClick={() => goTo(entry.position)}>
          {entry.summary || entry.event}
        </button>
        {entry.attempt > 1 && <span className="attempts">tried again, {ordinal(entry.attempt)} time</span>}
        {entry.problem ? <span className="event-problem">{entry.problem}</span> : null}
        <span className="event-meta">
          {entry.position} {entry.event} by {entry.actor}
          <Cause entry={entry} goToCause={goToCause} />
        </span>
      </div>
      {entry.tookMs !== undefined && entry.tookMs !== null && (
        <span className="event-took">{duration(entry.tookMs)}</span>
      )}
    </>
  )
}

function Cause({ entry, goToCause }: { entry: TimelineEvent; goToCause: (position: number) => void }) {
  const { cause } = entry
  if (!cause) return null
  if ('position' in cause) {
    return (
      <>
        , because of{' '}
        <button type="button" className="link-button" aria-label={`Go to its cause, event ${cause.position}`} onClick={() => goToCause(cause.position)}>
          {cause.position}
        </button>
      </>
    )
  }
  return (
    <>
      , by command <span title={cause.command}>{cause.command.slice(0, 8)}</span>
    </>
  )
}

function ordinal(n: number): string {
  return n === 2 ? '2nd' : n === 3 ? '3rd' : `${n}th`
}
