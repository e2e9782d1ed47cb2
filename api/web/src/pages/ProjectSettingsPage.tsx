import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useNavigate, useParams } from 'react-router'
import { keys } from '~/api/keys'
import { agentsQuery, projectQuery, useWrite, writes } from '~/api/queries'
import type { Project } from '~/api/types'
import { EraseForm } from '~/components/EraseForm'
import { ProjectFrame } from '~/components/ProjectFrame'
import { agentLabel, PERMISSION_OPTIONS, PROFILE_OPTIONS } from '~/components/StartOptions'
import { VariablesForm } from '~/components/VariablesForm'
import { paths } from '~/paths'
import { useAnnounce } from '~/ui/Announcer'
import { Button } from '~/ui/Button'
import { SelectField, TextField } from '~/ui/Field'
import { ProblemNote, Waiting } from '~/ui/Notes'

/** What an execution of this project starts with, and what its workspaces have in their environment. */
export function ProjectSettingsPage() {
  const { project = '' } = useParams()
  const { data } = useQuery(projectQuery(project))
  return (
    <ProjectFrame project={project}>
      <div className="page">
        {data === undefined ? (
          <Waiting>Loading the settings</Waiting>
        ) : (
          <>
            <DefaultsForm key={data.id} project={data} />
            <VariablesForm key={`variables ${data.id}`} project={data} />
            <EraseProject key={`erase ${data.id}`} project={data} />
          </>
        )}
      </div>
    </ProjectFrame>
  )
}

function DefaultsForm({ project }: { project: Project }) {
  const agents = useQuery(agentsQuery).data ?? []
  const [name, setName] = useState(project.name)
  const [defaults, setDefaults] = useState(project.defaults)
  const save = useWrite(writes.changeProject, [keys.project(project.id), keys.projects()])
  return (
    <form
      className="form"
      onSubmit={(event) => {
        event.preventDefault()
        save.mutate({ project: project.id, name: name.trim(), defaults })
      }}
    >
      <TextField
        label="Name"
        value={name}
        onChange={(event) => setName(event.target.value)}
        hint={
          <>
            Repository: <code>{project.repository}</code>
          </>
        }
      />
      <SelectField
        label="Coding agent"
        value={defaults.codingAgent ?? ''}
        options={[
          { value: '', label: 'The first that is ready' },
          ...agents.map((agent) => ({ value: agent.kind, label: agentLabel(agent) })),
        ]}
        onChange={(value) =>
          setDefaults({
            ...defaults,
            codingAgent: agents.find(({ kind }) => kind === value)?.kind ?? null,
          })
        }
      />
      <SelectField
        label="Workspace profile"
        value={defaults.profile}
        options={PROFILE_OPTIONS}
        onChange={(value) =>
          setDefaults({ ...defaults, profile: value === 'full' ? 'full' : 'lightweight' })
        }
        hint="Full sets up the repository’s devcontainer; lightweight starts on a small base image."
      />
      <SelectField
        label="When the agent asks for permission"
        value={defaults.permissions}
        options={PERMISSION_OPTIONS}
        onChange={(value) =>
          setDefaults({ ...defaults, permissions: value === 'ask' ? 'ask' : 'allow' })
        }
        hint="The agent works in a container of its own. Whatever it is allowed is recorded."
      />
      <ProblemNote error={save.error} />
      <div className="form-actions">
        <Button
          type="submit"
          look="primary"
          blockedBy={
            save.isPending ? 'Saving' : name.trim() === '' ? 'A project needs a name' : undefined
          }
        >
          Save
        </Button>
        <span role="status" className="soft">
          {save.isSuccess ? 'Saved' : ''}
        </span>
      </div>
    </form>
  )
}

/** Takes every text of the project away for good. */
function EraseProject({ project }: { project: Project }) {
  const navigate = useNavigate()
  const announce = useAnnounce()
  const erase = useWrite(writes.eraseProject, [keys.projects()])
  const submit = async (confirm: string) => {
    await erase.mutateAsync({ project: project.id, confirm })
    announce(`${project.name} was erased`)
    await navigate(paths.projects())
  }
  return (
    <EraseForm
      title="Erase this project"
      what="project"
      name={project.name}
      erase={(confirm) => void submit(confirm).catch(() => undefined)}
      isPending={erase.isPending}
      error={erase.error}
    >
      The key of its texts is destroyed: ideas, conversations and diffs can never be read again, here, in backups or in
      exports, and search forgets them. The log keeps that something happened and when, with “erased” in place of what
      was said. Branches in the repository stay.
    </EraseForm>
  )
}
