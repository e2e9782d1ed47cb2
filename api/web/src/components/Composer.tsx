import { type KeyboardEvent, type ReactNode, useId } from 'react'
import { modName } from '~/lib/shortcuts'
import { useRemembered } from '~/lib/storage'
import { Button } from '~/ui/Button'
import { ProblemNote } from '~/ui/Notes'

const TEXT_BYTES_MAX = 100_000

/** Where one writes. What is typed is kept in this browser until it is sent. */
export function Composer({
  draftName,
  label,
  placeholder,
  sendLabel,
  isSending,
  error,
  send,
  options,
}: {
  draftName: string
  label: string
  placeholder: string
  sendLabel: string
  isSending: boolean
  error: Error | null
  /** Answers whether it was sent; only then the draft is dropped. */
  send: (text: string) => Promise<boolean>
  options?: ReactNode
}) {
  const id = useId()
  const [draft, setDraft] = useRemembered(`draft.${draftName}`)
  const blockedBy = blockedBecause(draft, isSending)
  const submit = async () => {
    if (blockedBy === undefined && (await send(draft.trim()))) setDraft('')
  }
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' || !(event.metaKey || event.ctrlKey)) return
    event.preventDefault()
    void submit()
  }
  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault()
        void submit()
      }}
    >
      <ProblemNote error={error} />
      <div className="composer-box">
        <label className="sr-only" htmlFor={id}>
          {label}
        </label>
        <textarea
          id={id}
          data-composer
          rows={2}
          value={draft}
          placeholder={placeholder}
          onChange={(event) => setDraft(event.target.value)}
          onKeyDown={onKeyDown}
        />
        <div className="composer-row">
          <div className="composer-options">{options}</div>
          <span className="composer-hint">
            <kbd>{modName()}</kbd> <kbd>Enter</kbd>
          </span>
          <Button type="submit" look="primary" icon="send" blockedBy={blockedBy}>
            {isSending ? 'Sending' : sendLabel}
          </Button>
        </div>
      </div>
    </form>
  )
}

function blockedBecause(draft: string, isSending: boolean): string | undefined {
  if (isSending) return 'It is on its way'
  if (draft.trim() === '') return 'Write something first'
  if (draft.length > TEXT_BYTES_MAX) return 'Too long: put long texts into a file of the repository'
  return undefined
}
