import { useQuery } from '@tanstack/react-query'
import { Link, useParams } from 'react-router'
import { workspaceQuery } from '~/api/queries'
import type { BootLogEntry, Workspace } from '~/api/types'
import { duration, msBetween, timeOfDay } from '~/lib/time'
import { WORKSPACE_STATES } from '~/lib/words'
import { paths } from '~/paths'
import { Badge } from '~/ui/Badge'
import { Icon, type IconName } from '~/ui/Icon'
import { Note, ProblemNote, Waiting } from '~/ui/Notes'
import { Page } from '~/ui/Page'

/** A workspace and how it came up. */
export function WorkspacePage() {
  const { workspace: id = '' } = useParams()
  const { data, error } = useQuery(workspaceQuery(id))
  if (data === undefined) {
    return (
      <Page title="Workspace">
        {error === null ? <Waiting>Loading the workspace</Waiting> : <ProblemNote error={error} />}
      </Page>
    )
  }
  const state = WORKSPACE_STATES[data.state]
  return (
    <Page title="Workspace" lead={<Badge tone={state.tone}>{state.label}</Badge>}>
      {data.reason ? <Note tone="wait">{data.reason}</Note> : null}
      <Facts workspace={data} />
      <section aria-labelledby="boot">
        <h2 id="boot">Boot log</h2>
        <BootLog entries={data.bootLog} />
      </section>
    </Page>
  )
}

function Facts({ workspace }: { workspace: Workspace }) {
  return (
    <dl className="facts">
      <dt>Branch</dt>
      <dd>
        <code>{workspace.branch}</code>
        {workspace.baseBranch ? ` from ${workspace.baseBranch}` : ''}
      </dd>
      <dt>Profile</dt>
      <dd>{workspace.profile}</dd>
      {workspace.execution ? (
        <>
          <dt>Execution</dt>
          <dd>
            <Link to={paths.execution(workspace.execution)}>Timeline and changes</Link>
          </dd>
        </>
      ) : null}
      <dt>Project</dt>
      <dd>
        <Link to={paths.project(workspace.project)}>Chat</Link>
      </dd>
    </dl>
  )
}

const MARKS = {
  started: 'half',
  completed: 'check',
  failed: 'cross',
} satisfies Record<BootLogEntry['state'], IconName>

function BootLog({ entries }: { entries: readonly BootLogEntry[] }) {
  if (entries.length === 0) return <p className="soft">Nothing has happened yet.</p>
  const started = new Map<string, string>()
  return (
    <ol className="boot-log">
      {entries.map((entry, index) => {
        if (entry.state === 'started') started.set(entry.step, entry.at)
        const from = entry.state === 'started' ? undefined : started.get(entry.step)
        return (
          // The log only grows; an entry's place is its identity.
          <li key={index} className={`boot-${entry.state}`}>
            <time dateTime={entry.at}>{timeOfDay(entry.at)}</time>
            <Icon name={MARKS[entry.state]} />
            <span>
              <strong>{entry.step}</strong> {entry.state}
              {from !== undefined && ` in ${duration(msBetween(from, entry.at))}`}
              {entry.detail !== '' && <span className="boot-detail">{entry.detail}</span>}
            </span>
          </li>
        )
      })}
    </ol>
  )
}
