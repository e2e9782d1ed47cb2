import { keys } from '~/api/keys'
import { useWrite, writes } from '~/api/queries'
import type { Execution, PermissionItem } from '~/api/types'
import { Button } from '~/ui/Button'
import { Icon } from '~/ui/Icon'
import { ProblemNote } from '~/ui/Notes'

/** The coding agent waits for permission; it is asked here until somebody answers. */
export function PermissionAsk({ session, permission }: { session: string; permission: PermissionItem }) {
  const answer = useWrite(writes.answerPermission, [keys.session(session)])
  return (
    <section className="ask" aria-label="Permission needed">
      <h2>
        <Icon name="shield" />
        The agent asks for permission
      </h2>
      <p className="ask-title">{permission.title}</p>
      <div className="ask-options">
        {permission.options.map((option) => (
          <Button
            key={option.id}
            look={option.kind === 'allow_once' ? 'primary' : 'normal'}
            icon={option.kind.startsWith('allow') ? 'check' : 'cross'}
            blockedBy={answer.isPending ? 'Your answer is on its way' : undefined}
            onClick={() =>
              answer.mutate({ session, request: permission.request, option: option.id })
            }
          >
            {option.name}
          </Button>
        ))}
      </div>
      <ProblemNote error={answer.error} />
    </section>
  )
}

/** A prompt's outcome is unknown, and it is never sent twice without being asked. */
export function InputAsk({ execution }: { execution: Execution }) {
  const answer = useWrite(writes.answerInput, [keys.execution(execution.id)])
  const blockedBy = answer.isPending ? 'Your answer is on its way' : undefined
  return (
    <section className="ask" aria-label="Needs your decision">
      <h2>
        <Icon name="hand" />
        Needs your decision
      </h2>
      <p className="ask-title">
        {execution.reason ?? 'It is not known whether the agent carried out the last prompt.'}
      </p>
      <div className="ask-options">
        <Button
          look="primary"
          icon="retry"
          blockedBy={blockedBy}
          onClick={() => answer.mutate({ execution: execution.id, choice: 'continue' })}
        >
          Continue
        </Button>
        <Button
          icon="stop"
          blockedBy={blockedBy}
          onClick={() => answer.mutate({ execution: execution.id, choice: 'park' })}
        >
          Park it
        </Button>
      </div>
      <p className="soft">
        Continue tells the agent to look at what is there and go on. Park saves the work and stops.
        Without an answer it is parked after 24 hours.
      </p>
      <ProblemNote error={answer.error} />
    </section>
  )
}
