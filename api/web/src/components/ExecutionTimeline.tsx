import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useLocation } from 'react-router'
import { timelineQuery } from '~/api/queries'
import type { TimelineKind } from '~/api/types'
import { EventList } from '~/components/EventList'
import { MomentView } from '~/components/MomentView'
import { PhaseStrip } from '~/components/PhaseStrip'
import { Scrubber } from '~/components/Scrubber'
import { neighbourStop, positionIn, stopIndex, stopsOf } from '~/lib/timeline'
import { useWrittenAddress } from '~/lib/useWrittenAddress'
import { paths } from '~/paths'
import { Note, ProblemNote, Waiting } from '~/ui/Notes'

/** The account of one execution over all streams, and what everything was like at any moment of it. */
export function ExecutionTimeline({ execution }: { execution: string }) {
  // Each address of its own begins anew; those that the scrubber writes are no addresses to the router.
  const { key, search } = useLocation()
  return <TimelineFrom key={key} execution={execution} from={positionIn(new URLSearchParams(search).get('at'))} />
}

function TimelineFrom({ execution, from }: { execution: string; from: number | undefined }) {
  const { data, error, refetch } = useQuery(timelineQuery(execution))
  const [kinds, setKinds] = useState<ReadonlySet<TimelineKind>>(new Set())
  const [at, goTo] = useState(from)
  const link = at === undefined ? paths.execution(execution) : paths.executionAt(execution, at)
  useWrittenAddress(link)
  if (data === undefined) {
    return error === null ? (
      <Waiting>Putting the events of this execution in order</Waiting>
    ) : (
      <ProblemNote error={error} retry={() => void refetch()} />
    )
  }
  const stops = stopsOf(data.entries)
  const stop = stops[stopIndex(stops, at)]
  const event = data.entries.findLast(({ position }) => position === stop)
  return (
    <div className="timeline">
      <ProblemNote error={error} />
      <PhaseStrip timeline={data} sinceMs={at === undefined ? undefined : event?.sinceMs} goTo={goTo} />
      {at !== undefined && stops[0] !== undefined && at < stops[0] && (
        <Note>Position {at} is before this execution: its first event is shown.</Note>
      )}
      <Scrubber
        stops={stops}
        at={at}
        event={event}
        isRunning={!data.endedAt}
        link={`${location.origin}${link}`}
        goTo={goTo}
      />
      <div className={at === undefined ? 'timeline-panes' : 'timeline-panes timeline-with-moment'}>
        <EventList
          entries={data.entries}
          kinds={kinds}
          setKinds={setKinds}
          at={at}
          isRunning={!data.endedAt}
          goTo={goTo}
        />
        {at !== undefined && stop !== undefined && (
          <MomentView execution={execution} position={stop} before={neighbourStop(stops, stop, -1)} />
        )}
      </div>
      {at === undefined && (
        <p className="soft timeline-hint">
          Move the slider, or choose an event, to see every state and the chat as they were then. The model is not called again.
        </p>
      )}
    </div>
  )
}
