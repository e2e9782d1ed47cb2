import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { Link, useParams } from 'react-router'
import { diffQuery, executionQuery, ideaQuery, timelineQuery } from '~/api/queries'
import type { Execution } from '~/api/types'
import { AgentName } from '~/components/DemoLabel'
import { DiffView } from '~/components/DiffView'
import { Branch } from '~/components/OutcomeCard'
import { StepList } from '~/components/StepsStrip'
import { Timeline } from '~/components/Timeline'
import { EXECUTION_STATES } from '~/lib/words'
import { paths } from '~/paths'
import { Badge } from '~/ui/Badge'
import { Elapsed } from '~/ui/Elapsed'
import { Icon } from '~/ui/Icon'
import { Note, ProblemNote, Waiting } from '~/ui/Notes'
import { Page } from '~/ui/Page'

/** One attempt at an idea: what it made, and everything that happened. */
export function ExecutionPage() {
  const { execution: id = '' } = useParams()
  const { data, error } = useQuery(executionQuery(id))
  const idea = useQuery({ ...ideaQuery(data?.idea ?? ''), enabled: data !== undefined }).data
  if (data === undefined) {
    return (
      <Page title="Execution">
        {error === null ? <Waiting>Loading the execution</Waiting> : <ProblemNote error={error} />}
      </Page>
    )
  }
  const state = EXECUTION_STATES[data.state]
  return (
    <Page
      isWide
      title={idea?.title ?? 'Execution'}
      lead={
        <>
          <Badge tone={state.tone}>{state.label}</Badge>
          <AgentName kind={data.codingAgent} />
          <Elapsed from={data.requestedAt} to={data.endedAt} />
          <Link to={paths.session(data.project, data.session)}>
            <Icon name="chat" /> Conversation
          </Link>
        </>
      }
    >
      {data.reason ? <Note tone="wait">{data.reason}</Note> : null}
      <div className="execution">
        <div className="execution-side">
          <Section title="Branch">
            <Branch name={data.branch} />
            <p className="soft">{data.baseBranch ? `from ${data.baseBranch}` : 'from the default branch'}</p>
            <Commits execution={data} />
          </Section>
          <Section title="Steps">
            <StepList steps={data.steps} />
            {data.workspace ? <Link to={paths.workspace(data.workspace)}>Boot log</Link> : null}
          </Section>
        </div>
        <div className="execution-main">
          <Section title="Diff" id="diff">
            <ExecutionDiff execution={data} />
          </Section>
          <Section title="Timeline">
            <ExecutionTimeline execution={data.id} />
          </Section>
        </div>
      </div>
    </Page>
  )
}

function Section({ title, id, children }: { title: string; id?: string; children: ReactNode }) {
  return (
    <section id={id} aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  )
}

function Commits({ execution }: { execution: Execution }) {
  const commits = execution.result?.commits ?? []
  if (commits.length === 0) return null
  return (
    <ul className="commits">
      {commits.map((commit) => (
        <li key={commit.id}>
          <Icon name="commit" />
          <code title={commit.id}>{commit.id.slice(0, 7)}</code>
          <span title={commit.author}>{commit.subject}</span>
        </li>
      ))}
    </ul>
  )
}

function ExecutionDiff({ execution }: { execution: Execution }) {
  const hasEnded = Boolean(execution.endedAt)
  const { data, error, isPending } = useQuery({ ...diffQuery(execution.id), enabled: hasEnded })
  if (!hasEnded) return <p className="soft">The diff is made when the agent has finished.</p>
  if (error !== null) return <ProblemNote error={error} />
  if (isPending) return <Waiting>Loading the diff</Waiting>
  if (!data) return <p className="soft">There are no changes to show.</p>
  return <DiffView diff={data} isCut={execution.result?.isDiffCut ?? false} />
}

function ExecutionTimeline({ execution }: { execution: string }) {
  const { data, error, refetch } = useQuery(timelineQuery(execution))
  if (error !== null) return <ProblemNote error={error} retry={() => void refetch()} />
  if (data === undefined) return <Waiting>Loading the timeline</Waiting>
  return <Timeline entries={data.entries} />
}
