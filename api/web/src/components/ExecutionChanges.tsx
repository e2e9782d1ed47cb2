import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { diffQuery } from '~/api/queries'
import type { Execution } from '~/api/types'
import { DiffView } from '~/components/DiffView'
import { Branch } from '~/components/OutcomeCard'
import { Icon } from '~/ui/Icon'
import { ProblemNote, Waiting } from '~/ui/Notes'

/** What an execution made: its branch, its commits, and the diff. */
export function ExecutionChanges({ execution }: { execution: Execution }) {
  return (
    <div className="execution">
      <div className="execution-side">
        <Section title="Branch">
          <Branch name={execution.branch} />
          <p className="soft">
            {execution.baseBranch ? `from ${execution.baseBranch}` : 'from the default branch'}
          </p>
        </Section>
        <Section title="Commits">
          <Commits execution={execution} />
        </Section>
      </div>
      <div className="execution-main">
        <Section title="Diff">
          <Diff execution={execution} />
        </Section>
      </div>
    </div>
  )
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  )
}

function Commits({ execution }: { execution: Execution }) {
  const commits = execution.result?.commits ?? []
  if (commits.length === 0) return <p className="soft">{execution.endedAt ? 'None.' : 'None yet.'}</p>
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

function Diff({ execution }: { execution: Execution }) {
  const hasEnded = Boolean(execution.endedAt)
  const { data, error, isPending } = useQuery({ ...diffQuery(execution.id), enabled: hasEnded })
  if (!hasEnded) return <p className="soft">The diff is made when the agent has finished.</p>
  if (error !== null) return <ProblemNote error={error} />
  if (isPending) return <Waiting>Loading the diff</Waiting>
  if (!data) return <p className="soft">There are no changes to show.</p>
  return <DiffView diff={data} isCut={execution.result?.isDiffCut ?? false} />
}
