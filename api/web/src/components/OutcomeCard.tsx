import { Link } from 'react-router'
import { executionCan } from '~/api/can'
import { useWrite, writes } from '~/api/queries'
import { keys } from '~/api/keys'
import type { Execution, ExecutionResult } from '~/api/types'
import { Counts } from '~/components/DiffView'
import { newId } from '~/lib/id'
import { count } from '~/lib/words'
import { paths } from '~/paths'
import { Button, LinkButton } from '~/ui/Button'
import { CopyButton } from '~/ui/CopyButton'
import { Icon } from '~/ui/Icon'
import { ProblemNote, Waiting } from '~/ui/Notes'

/** How an execution came out: the branch it made, or why not and what can be done. */
export function OutcomeCard({ execution }: { execution: Execution }) {
  switch (execution.state) {
    case 'done':
      return <DoneCard execution={execution} />
    case 'failed':
    case 'cancelled':
      return <ParkedCard execution={execution} />
    case 'finishing':
      return <Waiting>Committing what is left and pushing {execution.branch}</Waiting>
    case 'running':
    case 'waiting':
    case 'needs_input':
      return null
  }
}

function DoneCard({ execution }: { execution: Execution }) {
  const { result } = execution
  return (
    <section className="outcome outcome-done" aria-label="Result">
      <h2>
        <Icon name="check" />
        Done
        {result?.reference ? '' : ', no changes'}
      </h2>
      {result?.reference ? (
        <Pushed execution={execution} result={result} />
      ) : (
        <p className="soft">The agent changed nothing, so there is no branch to look at.</p>
      )}
      <p className="soft">A follow-up goes on from here, on the same branch.</p>
    </section>
  )
}

function Pushed({ execution, result }: { execution: Execution; result: ExecutionResult }) {
  const added = result.files.reduce((sum, file) => sum + file.added, 0)
  const removed = result.files.reduce((sum, file) => sum + file.removed, 0)
  return (
    <>
      <Branch name={execution.branch} />
      <ul className="commits">
        {result.commits.map((commit) => (
          <li key={commit.id}>
            <Icon name="commit" />
            <code>{commit.id.slice(0, 7)}</code>
            <span>{commit.subject}</span>
          </li>
        ))}
      </ul>
      <div className="outcome-actions">
        <LinkButton look="primary" to={paths.executionChanges(execution.id)} icon="edit">
          View diff
        </LinkButton>
        <span className="soft">
          {count(result.files.length, 'file')} <Counts added={added} removed={removed} />
        </span>
      </div>
    </>
  )
}

function ParkedCard({ execution }: { execution: Execution }) {
  const retry = useWrite(writes.execute, [
    keys.idea(execution.idea),
    keys.ideas(execution.project),
    keys.session(execution.session),
    keys.sessions(execution.project),
  ])
  const isCancelled = execution.state === 'cancelled'
  return (
    <section className="outcome outcome-parked" aria-label="Result">
      <h2>
        <Icon name={isCancelled ? 'dash' : 'cross'} />
        {isCancelled ? 'Cancelled' : 'Failed'}
      </h2>
      {execution.reason ? <p className="outcome-reason">{execution.reason}</p> : null}
      {execution.checkpoint ? (
        <p className="soft">
          Unpushed work is kept at <code>{execution.checkpoint}</code>
        </p>
      ) : null}
      {executionCan(execution, 'retry') && (
        <div className="outcome-actions">
          <Button
            look="primary"
            icon="retry"
            blockedBy={retry.isPending ? 'The retry is on its way' : undefined}
            onClick={() => retry.mutate({ idea: execution.idea, execution: newId() })}
          >
            Retry
          </Button>
          <Link to={paths.execution(execution.id)}>What happened</Link>
        </div>
      )}
      <ProblemNote error={retry.error} />
    </section>
  )
}

export function Branch({ name }: { name: string }) {
  return (
    <p className="branch">
      <Icon name="branch" />
      <code>{name}</code>
      <CopyButton text={name} label="Copy the branch's name" />
    </p>
  )
}
