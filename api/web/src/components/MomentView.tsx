import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { momentQuery } from '~/api/queries'
import type { AggregateState, Moment } from '~/api/types'
import { Transcript } from '~/components/Transcript'
import { changedPaths, stateLines } from '~/lib/timeline'
import { useSettled } from '~/lib/useSettled'
import { ProblemNote, Waiting } from '~/ui/Notes'

/** While somebody drags, only where they rest is asked for. */
const REST_MS = 120

/** What every aggregate and the conversation were like at a position of the log. */
export function MomentView({
  execution,
  position,
  before,
}: {
  execution: string
  position: number
  /** The position just before, to show what the event changed. */
  before: number | undefined
}) {
  const settled = useSettled(position, REST_MS)
  const moment = useQuery({ ...momentQuery(execution, settled), placeholderData: keepPreviousData })
  const previous = useQuery({
    ...momentQuery(execution, before ?? 0),
    enabled: before !== undefined && settled === position && moment.isSuccess && !moment.isPlaceholderData,
  })
  if (moment.error !== null) return <ProblemNote error={moment.error} retry={() => void moment.refetch()} />
  if (moment.data === undefined) return <Waiting>Folding the log up to position {position}</Waiting>
  const isOld = moment.isPlaceholderData || settled !== position
  return (
    <div className="moment" aria-busy={isOld} data-position={isOld ? undefined : position}>
      <States moment={moment.data} previous={before === undefined ? undefined : previous.data} />
      <section className="moment-chat" aria-label="Chat at this moment">
        <h3>
          Chat {moment.data.chat.hasMore && <span className="soft">the newest {moment.data.chat.items.length} messages</span>}
        </h3>
        {moment.data.chat.items.length === 0 ? (
          <p className="soft">Nothing had been said.</p>
        ) : (
          <Transcript
            key={moment.data.chat.session}
            items={moment.data.chat.items}
            hasMore={false}
            isLoadingOlder={false}
            loadOlder={() => undefined}
            footer={null}
            isPast
          />
        )}
      </section>
    </div>
  )
}

function States({ moment, previous }: { moment: Moment; previous: Moment | undefined }) {
  return (
    <section className="moment-states" aria-label="States at this moment">
      <h3>States</h3>
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a region that scrolls must be reachable by keyboard */}
      <div className="moment-scroll" tabIndex={0} role="region" aria-label="Aggregates">
        {moment.aggregates.length === 0 && <p className="soft">Nothing existed yet.</p>}
        {moment.aggregates.map((aggregate) => (
          <Aggregate
            key={`${aggregate.kind} ${aggregate.id}`}
            aggregate={aggregate}
            before={previous === undefined ? aggregate : find(previous, aggregate)}
          />
        ))}
      </div>
    </section>
  )
}

function Aggregate({ aggregate, before }: { aggregate: AggregateState; before: AggregateState | undefined }) {
  const changed = changedPaths(before?.state, aggregate.state)
  return (
    <details className="aggregate" open>
      <summary data-nav>
        <strong>{aggregate.kind}</strong>
        <code title={aggregate.id}>{aggregate.id.slice(0, 8)}</code>
        <span className="soft">after {aggregate.sequence}</span>
        {changed.size > 0 && <span className="changed-mark">changed</span>}
      </summary>
      {aggregate.problem ? <p className="event-problem">{aggregate.problem}</p> : null}
      {aggregate.isErased && <p className="erased">Texts of it were erased.</p>}
      <ul className="state-lines">
        {stateLines(aggregate.state).map(({ path, depth, name, value }) => (
          <li key={path} className={changed.has(path) ? 'state-changed' : ''} style={{ paddingLeft: `${depth * 0.9}rem` }}>
            <span className="state-name">{name}</span>
            {value !== undefined && <span className="state-value">{value}</span>}
          </li>
        ))}
      </ul>
    </details>
  )
}

function find(moment: Moment, { kind, id }: AggregateState): AggregateState | undefined {
  return moment.aggregates.find((known) => known.kind === kind && known.id === id)
}
