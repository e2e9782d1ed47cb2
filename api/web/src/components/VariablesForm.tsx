import { useQuery } from '@tanstack/react-query'
import { type RefObject, useId, useRef, useState } from 'react'
import { keys } from '~/api/keys'
import { useWrite, variablesQuery, writes } from '~/api/queries'
import type { Project, Variable } from '~/api/types'
import { Button } from '~/ui/Button'
import { Choice, TextField } from '~/ui/Field'
import { ProblemNote, Waiting } from '~/ui/Notes'

interface Draft {
  name: string
  value: string
  isSecret: boolean
}

/** Unless somebody says otherwise, a value cannot be read again: that mistake is the smaller one. */
const EMPTY: Draft = { name: '', value: '', isSecret: true }

/** What every workspace of the project has in its environment. */
export function VariablesForm({ project }: { project: Project }) {
  const variables = useQuery(variablesQuery(project.id))
  const [draft, setDraft] = useState(EMPTY)
  const value = useRef<HTMLTextAreaElement>(null)
  const replace = ({ name, value: known, isSecret }: Variable) => {
    setDraft({ name, value: known ?? '', isSecret })
    value.current?.focus()
  }
  return (
    <section className="variables" aria-labelledby="variables">
      <h2 id="variables">Environment variables</h2>
      <p className="soft">
        The coding agent and everything that it runs see these, from the next workspace on. Values are encrypted where
        they are stored; whatever a program prints can be read in the conversation.
      </p>
      {variables.isPending && <Waiting>Loading the variables</Waiting>}
      <ProblemNote error={variables.error} />
      {variables.data !== undefined && variables.data.length > 0 && (
        <ul className="lines" aria-label="Variables">
          {variables.data.map((variable) => (
            <VariableLine
              key={variable.name}
              project={project.id}
              variable={variable}
              onReplace={() => replace(variable)}
            />
          ))}
        </ul>
      )}
      <SetForm
        project={project.id}
        draft={draft}
        onChange={setDraft}
        valueRef={value}
        isReplacing={variables.data?.some(({ name }) => name === draft.name.trim()) ?? false}
      />
    </section>
  )
}

function VariableLine({
  project,
  variable,
  onReplace,
}: {
  project: string
  variable: Variable
  onReplace: () => void
}) {
  const { name } = variable
  const remove = useWrite(writes.removeVariable, [keys.variables(project)])
  return (
    <li>
      <div className="line">
        <code>{name}</code>
        {variable.isSecret ? (
          <span className="variable-value soft">secret, cannot be read again</span>
        ) : (
          <code className="variable-value">{variable.value}</code>
        )}
        <Button look="quiet" icon="edit" aria-label={`Replace ${name}`} onClick={onReplace}>
          Replace
        </Button>
        <Button
          look="danger"
          icon="remove"
          aria-label={`Remove ${name}`}
          blockedBy={remove.isPending ? 'It is being removed' : undefined}
          onClick={() => remove.mutate({ project, name })}
        >
          Remove
        </Button>
      </div>
      <ProblemNote error={remove.error} />
    </li>
  )
}

function SetForm({
  project,
  draft,
  onChange,
  valueRef,
  isReplacing,
}: {
  project: string
  draft: Draft
  onChange: (draft: Draft) => void
  valueRef: RefObject<HTMLTextAreaElement | null>
  isReplacing: boolean
}) {
  const id = useId()
  const set = useWrite(writes.setVariable, [keys.variables(project)])
  const name = draft.name.trim()
  return (
    <form
      className="form"
      onSubmit={(event) => {
        event.preventDefault()
        if (name !== '') set.mutate({ project, ...draft, name }, { onSuccess: () => onChange(EMPTY) })
      }}
    >
      <TextField
        label="Variable"
        value={draft.name}
        placeholder="DATABASE_URL"
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        onChange={(event) => onChange({ ...draft, name: event.target.value })}
      />
      <div className="field">
        <label htmlFor={id}>Value</label>
        <textarea
          id={id}
          ref={valueRef}
          className={draft.isSecret ? 'concealed' : undefined}
          rows={2}
          value={draft.value}
          autoComplete="off"
          spellCheck={false}
          onChange={(event) => onChange({ ...draft, value: event.target.value })}
        />
      </div>
      <Choice
        legend="Afterwards the value"
        value={draft.isSecret ? 'secret' : 'readable'}
        options={[
          { value: 'secret', label: 'Is secret' },
          { value: 'readable', label: 'Can be read here' },
        ]}
        onChange={(value) => onChange({ ...draft, isSecret: value === 'secret' })}
      />
      <ProblemNote error={set.error} />
      <div className="form-actions">
        <Button
          type="submit"
          icon="key"
          blockedBy={set.isPending ? 'It is being set' : name === '' ? 'A variable needs a name' : undefined}
        >
          {isReplacing ? 'Replace variable' : 'Add variable'}
        </Button>
      </div>
    </form>
  )
}
