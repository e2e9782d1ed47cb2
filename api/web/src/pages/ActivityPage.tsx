import { useInfiniteQuery } from '@tanstack/react-query'
import { Link, useParams } from 'react-router'
import { activityQuery } from '~/api/queries'
import type { ActivityEntry } from '~/api/types'
import { ProjectFrame } from '~/components/ProjectFrame'
import { groupedBy } from '~/lib/groups'
import { dayName, fullTime, timeOfDay } from '~/lib/time'
import { useNow } from '~/lib/useNow'
import { paths } from '~/paths'
import { Button } from '~/ui/Button'
import { EmptyState, ProblemNote, Waiting } from '~/ui/Notes'
import '~/pages/log.css'

/** What happened in a project, by day, the newest first. The details are on the executions' timelines. */
export function ActivityPage() {
  const { project = '' } = useParams()
  return (
    <ProjectFrame project={project}>
      <div className="page">
        <Feed key={project} project={project} />
      </div>
    </ProjectFrame>
  )
}

function Feed({ project }: { project: string }) {
  const feed = useInfiniteQuery(activityQuery(project))
  const now = useNow({ everySeconds: 60 })
  const entries = feed.data?.pages.flatMap((page) => page.entries) ?? []
  const days = groupedBy(entries, ({ at }) => dayName(at, now))
  return (
    <>
      <ProblemNote error={feed.error} retry={() => void feed.refetch()} />
      {feed.isPending && <Waiting>Reading what happened in this project</Waiting>}
      {feed.isSuccess && entries.length === 0 && (
        <EmptyState icon="clock" title="Nothing has happened yet">
          <p>What people and agents do in this project is listed here, day by day.</p>
        </EmptyState>
      )}
      {days.map(({ group, members }) => (
        <section key={group} aria-label={group}>
          <h2>{group}</h2>
          <ol className="lines activity-lines">
            {members.map((entry) => (
              <Line key={entry.position} project={project} entry={entry} />
            ))}
          </ol>
        </section>
      ))}
      {feed.hasNextPage && (
        <p>
          <Button
            icon="down"
            blockedBy={feed.isFetchingNextPage ? 'Older entries are being read' : undefined}
            onClick={() => void feed.fetchNextPage()}
          >
            {feed.isFetchingNextPage ? 'Reading older entries' : 'Show older'}
          </Button>
        </p>
      )}
    </>
  )
}

function Line({ project, entry }: { project: string; entry: ActivityEntry }) {
  const content = (
    <>
      <time className="soft" dateTime={entry.at} title={fullTime(entry.at)}>
        {timeOfDay(entry.at)}
      </time>
      <span className="activity-text">{entry.summary || entry.event}</span>
      <span className="soft">{entry.actor}</span>
    </>
  )
  const to = placeOf(project, entry)
  return (
    <li>
      {to === undefined ? (
        <span className="line">{content}</span>
      ) : (
        <Link className="line" to={to} data-nav>
          {content}
        </Link>
      )}
    </li>
  )
}

/** The moment itself where there is a timeline, else the nearest thing to look at. */
function placeOf(project: string, { execution, session, idea, position }: ActivityEntry): string | undefined {
  if (execution) return paths.executionAt(execution, position)
  if (session) return paths.session(project, session)
  return idea ? paths.ideas(project) : undefined
}
