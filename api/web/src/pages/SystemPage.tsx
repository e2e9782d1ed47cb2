import { useQuery } from '@tanstack/react-query'
import { keys } from '~/api/keys'
import { projectionsQuery, useWrite, writes } from '~/api/queries'
import type { DamagedStream, Projection } from '~/api/types'
import { SettingsTabs } from '~/components/SettingsTabs'
import { duration } from '~/lib/time'
import { count, PROJECTION_STATES } from '~/lib/words'
import { Badge } from '~/ui/Badge'
import { Button } from '~/ui/Button'
import { Ago } from '~/ui/Elapsed'
import { ProblemNote, Waiting } from '~/ui/Notes'
import { Page } from '~/ui/Page'
import '~/pages/log.css'

/** How the read models follow the log. */
export function SystemPage() {
  const { data, error, refetch } = useQuery(projectionsQuery)
  return (
    <Page title="System">
      <SettingsTabs />
      <ProblemNote error={error} retry={() => void refetch()} />
      {data === undefined && error === null && <Waiting>Asking the projections where they are</Waiting>}
      {data !== undefined && (
        <>
          <section aria-labelledby="projections">
            <h2 id="projections">Projections</h2>
            <p className="soft">
              What the pages show is made from the log, which is at position {data.head}. A projection that cannot take an
              event is parked before it; the others go on, and nothing is lost.
            </p>
            <ul className="lines">
              {[...data.projections].sort(parkedFirst).map((projection) => (
                <ProjectionLine key={projection.name} projection={projection} />
              ))}
            </ul>
          </section>
          <section aria-labelledby="damaged">
            <h2 id="damaged">Damaged streams</h2>
            {data.damagedStreams.length === 0 ? (
              <p className="soft">None. Every stream can be folded.</p>
            ) : (
              <DamagedStreams streams={data.damagedStreams} />
            )}
          </section>
        </>
      )}
    </Page>
  )
}

function ProjectionLine({ projection }: { projection: Projection }) {
  const retry = useWrite(writes.retryProjection, [keys.projections()])
  const rebuild = useWrite(writes.rebuildProjection, [keys.projections()])
  const { name, state, position, lag, lagMs, reason, parkedAt, parkedPosition } = projection
  const word = PROJECTION_STATES[state]
  const isParked = state === 'parked'
  return (
    <li className={isParked ? 'projection projection-parked' : 'projection'}>
      <div className="line">
        <Badge tone={word.tone}>{word.label}</Badge>
        <span className="projection-name">
          <strong>{name.replaceAll('_', ' ')}</strong>
          <span className="soft">
            at {position}
            {lag > 0 ? `, ${count(lag, 'event')} behind${lagMs ? ` (${duration(lagMs)})` : ''}` : ''}
          </span>
        </span>
        {isParked && (
          <Button
            look="primary"
            icon="retry"
            blockedBy={retry.isPending ? 'The retry is on its way' : undefined}
            onClick={() => retry.mutate(name)}
          >
            Retry
          </Button>
        )}
        <Button
          look="quiet"
          blockedBy={
            state === 'rebuilding' ? 'It is being rebuilt' : rebuild.isPending ? 'The rebuild is on its way' : undefined
          }
          title="Empties its tables and makes them again from the whole log"
          aria-label={`Rebuild ${name.replaceAll('_', ' ')}`}
          onClick={() => rebuild.mutate(name)}
        >
          Rebuild
        </Button>
      </div>
      {isParked && (
        <p className="projection-reason">
          {parkedPosition ? `At event ${parkedPosition}` : 'Parked'}
          {parkedAt ? (
            <>
              , <Ago at={parkedAt} />
            </>
          ) : null}
          : {reason ?? 'no reason was recorded'}
        </p>
      )}
      <ProblemNote error={retry.error ?? rebuild.error} />
    </li>
  )
}

function DamagedStreams({ streams }: { streams: readonly DamagedStream[] }) {
  return (
    <>
      <p className="soft">
        Nothing can be decided on these any more, so commands to them are refused. Everything else goes on.
      </p>
      <ul className="lines">
        {streams.map((damaged) => (
          <li key={`${damaged.kind} ${damaged.stream}`} className="line">
            <Badge tone="bad">Damaged</Badge>
            <span>
              {damaged.kind} <code title={damaged.stream}>{damaged.stream.slice(0, 8)}</code>
              {damaged.sequence > 0 ? ` at event ${damaged.sequence}` : ''}
            </span>
            <span className="soft damaged-reason">{damaged.reason}</span>
          </li>
        ))}
      </ul>
    </>
  )
}

function parkedFirst(a: Projection, b: Projection): number {
  return Number(b.state === 'parked') - Number(a.state === 'parked') || a.name.localeCompare(b.name)
}
