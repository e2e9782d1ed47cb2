import type { ReactNode } from 'react'
import { useState } from 'react'
import { Button } from '~/ui/Button'
import { TextField } from '~/ui/Field'
import { ProblemNote } from '~/ui/Notes'

/** Takes something away for good; asks for its name, since nothing brings it back. */
export function EraseForm({
  title,
  what,
  name,
  erase,
  isPending,
  error,
  children,
}: {
  title: string
  /** In a sentence: type the name of the … first. */
  what: string
  name: string
  erase: (confirm: string) => void
  isPending: boolean
  error: Error | null
  /** What goes, and what stays. */
  children: ReactNode
}) {
  const [confirm, setConfirm] = useState('')
  const blockedBy = isPending
    ? 'It is being erased'
    : confirm === name
      ? undefined
      : `Type the name of the ${what} first`
  return (
    <section className="erase" aria-labelledby="erase">
      <h2 id="erase">{title}</h2>
      <p className="soft">{children}</p>
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault()
          if (confirm === name) erase(confirm)
        }}
      >
        <TextField
          label={`Type ${name} to confirm`}
          value={confirm}
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          onChange={(event) => setConfirm(event.target.value)}
        />
        <ProblemNote error={error} />
        <div className="form-actions">
          <Button type="submit" look="danger" icon="remove" blockedBy={blockedBy}>
            {isPending ? 'Erasing' : 'Erase for ever'}
          </Button>
        </div>
      </form>
    </section>
  )
}
