import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { Link, NavLink, useParams } from 'react-router'
import { executionQuery, ideaQuery } from '~/api/queries'
import { AgentName } from '~/components/DemoLabel'
import { ExecutionChanges } from '~/components/ExecutionChanges'
import { ExecutionTimeline } from '~/components/ExecutionTimeline'
import { EXECUTION_STATES } from '~/lib/words'
import { paths } from '~/paths'
import { Badge } from '~/ui/Badge'
import { Elapsed } from '~/ui/Elapsed'
import { Icon } from '~/ui/Icon'
import { Note, ProblemNote, Waiting } from '~/ui/Notes'
import { Page } from '~/ui/Page'
import '~/components/timeline.css'

/** One attempt at an idea: everything that happened, and what it made. */
export function ExecutionPage({ tab }: { tab: 'timeline' | 'changes' }) {
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
          {data.workspace ? (
            <Link to={paths.workspace(data.workspace)}>
              <Icon name="folder" /> Workspace
            </Link>
          ) : null}
        </>
      }
    >
      <nav className="tabs page-tabs" aria-label="Execution">
        <Tab to={paths.execution(id)}>
          <Icon name="clock" />
          Timeline
        </Tab>
        <Tab to={paths.executionChanges(id)}>
          <Icon name="commit" />
          Changes
        </Tab>
      </nav>
      {data.reason ? <Note tone="wait">{data.reason}</Note> : null}
      {tab === 'timeline' ? <ExecutionTimeline execution={id} /> : <ExecutionChanges execution={data} />}
    </Page>
  )
}

export function ExecutionTimelinePage() {
  return <ExecutionPage tab="timeline" />
}

export function ExecutionChangesPage() {
  return <ExecutionPage tab="changes" />
}

function Tab({ to, children }: { to: string; children: ReactNode }) {
  return (
    <NavLink to={to} end className={({ isActive }) => (isActive ? 'tab tab-active' : 'tab')}>
      {children}
    </NavLink>
  )
}
