import { useState } from 'react'
import { Link, useNavigate } from 'react-router'
import { ideaCan } from '~/api/can'
import { keys } from '~/api/keys'
import { useWrite, writes } from '~/api/queries'
import type { Idea, Project, StartChoices } from '~/api/types'
import { StartOptions, useChosenAgent } from '~/components/StartOptions'
import { newId } from '~/lib/id'
import { STAGES } from '~/lib/words'
import { paths } from '~/paths'
import { Badge } from '~/ui/Badge'
import { Button, LinkButton } from '~/ui/Button'
import { Dialog } from '~/ui/Dialog'
import { ProblemNote } from '~/ui/Notes'

/** One idea of the board: to be read, edited while it is a draft, and executed. */
export function IdeaDialog({ idea, project, onClose }: { idea: Idea; project: Project; onClose: () => void }) {
  const navigate = useNavigate()
  const [description, setDescription] = useState(idea.description)
  const [choices, setChoices] = useState<StartChoices>({})
  const agent = useChosenAgent(project, choices)
  const touched = [keys.ideas(idea.project), keys.idea(idea.id), keys.sessions(idea.project)]
  const save = useWrite(writes.changeIdea, touched)
  const execute = useWrite(writes.execute, touched)
  const hasChanged = description.trim() !== idea.description
  const state = STAGES[idea.stage]
  const run = async () => {
    if (hasChanged) await save.mutateAsync({ idea: idea.id, description: description.trim() })
    const { session } = await execute.mutateAsync({
      idea: idea.id,
      execution: newId(),
      ...choices,
      ...(agent === undefined ? {} : { codingAgent: agent.kind }),
    })
    onClose()
    const target = session ?? idea.session
    if (target) await navigate(paths.session(idea.project, target))
  }
  return (
    <Dialog isOpen onClose={onClose} title={idea.title}>
      <p className="session-facts">
        <Badge tone={state.tone}>{state.label}</Badge>
        {idea.parkedReason ? <span className="soft">{idea.parkedReason}</span> : null}
      </p>
      {ideaCan(idea, 'edit') ? (
        <div className="field">
          <label htmlFor="idea-description">Description</label>
          <textarea
            id="idea-description"
            rows={7}
            value={description}
            onChange={(event) => setDescription(event.target.value)}
          />
        </div>
      ) : (
        <p className="idea-description">{idea.description}</p>
      )}
      {ideaCan(idea, 'execute') && (
        <div className="start-options">
          <StartOptions project={project} choices={choices} onChange={setChoices} />
        </div>
      )}
      {idea.executions.length > 0 && (
        <p className="soft">
          Executions:{' '}
          {idea.executions.map((execution, index) => (
            <Link key={execution} to={paths.execution(execution)}>
              {index + 1}{' '}
            </Link>
          ))}
        </p>
      )}
      <ProblemNote error={save.error ?? execute.error} />
      <div className="form-actions">
        {ideaCan(idea, 'execute') && (
          <Button
            look="primary"
            icon="send"
            blockedBy={execute.isPending ? 'It is being started' : undefined}
            onClick={() => void run().catch(() => undefined)}
          >
            Execute
          </Button>
        )}
        {ideaCan(idea, 'edit') && (
          <Button
            blockedBy={hasChanged ? undefined : 'Nothing has changed'}
            onClick={() => save.mutate({ idea: idea.id, description: description.trim() })}
          >
            Save
          </Button>
        )}
        {idea.session ? (
          <LinkButton to={paths.session(idea.project, idea.session)} icon="chat">
            Conversation
          </LinkButton>
        ) : null}
      </div>
    </Dialog>
  )
}
