import { useState } from 'react'
import { useNavigate } from 'react-router'
import { keys } from '~/api/keys'
import { useWrite, writes } from '~/api/queries'
import { newId } from '~/lib/id'
import { paths } from '~/paths'
import { Button, LinkButton } from '~/ui/Button'
import { TextField } from '~/ui/Field'
import { ProblemNote } from '~/ui/Notes'
import { Page } from '~/ui/Page'

/** Links a repository. */
export function NewProjectPage() {
  const navigate = useNavigate()
  const [id] = useState(newId)
  const [repository, setRepository] = useState('')
  const [name, setName] = useState('')
  const create = useWrite(writes.createProject, [keys.projects()])
  const submit = async () => {
    const chosen = name.trim()
    await create.mutateAsync({
      id,
      repository: repository.trim(),
      ...(chosen === '' ? {} : { name: chosen }),
    })
    await navigate(paths.project(id))
  }
  return (
    <Page title="New project">
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault()
          void submit().catch(() => undefined)
        }}
      >
        <TextField
          label="Repository"
          value={repository}
          onChange={(event) => setRepository(event.target.value)}
          placeholder="https://github.com/you/project.git or /home/you/project"
          autoCapitalize="none"
          autoComplete="off"
          spellCheck={false}
          hint="Any address that git understands, or a folder on this machine. Results are pushed to branches of their own, never to the default branch."
        />
        <TextField
          label="Name"
          value={name}
          onChange={(event) => setName(event.target.value)}
          placeholder={nameFrom(repository) || 'The repository’s name'}
          autoComplete="off"
          hint="Optional."
        />
        <ProblemNote error={create.error} />
        <div className="form-actions">
          <Button
            type="submit"
            look="primary"
            blockedBy={
              create.isPending
                ? 'The project is being created'
                : repository.trim() === ''
                  ? 'Say which repository first'
                  : undefined
            }
          >
            Create project
          </Button>
          <LinkButton look="quiet" to={paths.projects()}>
            Cancel
          </LinkButton>
        </div>
      </form>
    </Page>
  )
}

/** What the server would call it. */
function nameFrom(repository: string): string {
  return (
    repository
      .trim()
      .replace(/\/+$/, '')
      .replace(/\.git$/, '')
      .split(/[/:]/)
      .at(-1) ?? ''
  )
}
