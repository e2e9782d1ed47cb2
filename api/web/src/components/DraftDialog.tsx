import { useState } from 'react'
import { keys } from '~/api/keys'
import { useWrite, writes } from '~/api/queries'
import { newId } from '~/lib/id'
import { useRemembered } from '~/lib/storage'
import { Button } from '~/ui/Button'
import { Dialog } from '~/ui/Dialog'
import { Choice } from '~/ui/Field'
import { ProblemNote } from '~/ui/Notes'

/** Notes an idea without executing it. */
export function DraftDialog({
  isOpen,
  onClose,
  project,
}: {
  isOpen: boolean
  onClose: () => void
  project: string
}) {
  return (
    <Dialog isOpen={isOpen} onClose={onClose} title="New draft">
      <DraftForm project={project} onClose={onClose} />
    </Dialog>
  )
}

function DraftForm({ project, onClose }: { project: string; onClose: () => void }) {
  const [idea] = useState(newId)
  const [description, setDescription] = useRemembered(`draft.idea.${project}`)
  const [stage, setStage] = useState<'exploring' | 'ready'>('exploring')
  const create = useWrite(writes.submitIdea, [keys.ideas(project)])
  const submit = async () => {
    await create.mutateAsync({ project, idea, description: description.trim(), stage })
    setDescription('')
    onClose()
  }
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        void submit().catch(() => undefined)
      }}
    >
      <div className="field">
        <label htmlFor="draft-description">What could be done</label>
        <textarea
          id="draft-description"
          rows={6}
          value={description}
          onChange={(event) => setDescription(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === 'Enter' && (event.metaKey || event.ctrlKey)) {
              event.currentTarget.form?.requestSubmit()
            }
          }}
        />
      </div>
      <Choice
        legend="Stage"
        value={stage}
        options={[
          { value: 'exploring', label: 'Exploring' },
          { value: 'ready', label: 'Ready' },
        ]}
        onChange={(value) => setStage(value === 'ready' ? 'ready' : 'exploring')}
      />
      <ProblemNote error={create.error} />
      <div className="form-actions">
        <Button
          type="submit"
          look="primary"
          blockedBy={
            create.isPending
              ? 'It is being saved'
              : description.trim() === ''
                ? 'Write something first'
                : undefined
          }
        >
          Save draft
        </Button>
      </div>
    </form>
  )
}
