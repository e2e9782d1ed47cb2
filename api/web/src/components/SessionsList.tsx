import { useQuery } from '@tanstack/react-query'
import { NavLink } from 'react-router'
import { sessionsQuery } from '~/api/queries'
import type { Session } from '~/api/types'
import { plainText } from '~/lib/plainText'
import { isUnread } from '~/lib/unread'
import { useRemembered } from '~/lib/storage'
import { ERASED, SESSION_STATES } from '~/lib/words'
import { paths } from '~/paths'
import { StateDot } from '~/ui/Badge'
import { LinkButton } from '~/ui/Button'
import { Ago } from '~/ui/Elapsed'
import { ProblemNote, Waiting } from '~/ui/Notes'

/** A project's conversations: those that need somebody first, then those at work, then the newest. */
export function SessionsList({ project }: { project: string }) {
  const { data, error } = useQuery(sessionsQuery(project))
  return (
    <div className="sessions">
      <LinkButton look="primary" icon="plus" to={paths.project(project)}>
        New idea
      </LinkButton>
      {data === undefined && error === null && <Waiting>Loading conversations</Waiting>}
      <ProblemNote error={error} />
      {data?.length === 0 && <p className="soft">Conversations will be listed here.</p>}
      <ul aria-label="Conversations">
        {[...(data ?? [])].sort(byUrgency).map((session) => (
          <SessionEntry key={session.id} session={session} />
        ))}
      </ul>
    </div>
  )
}

function SessionEntry({ session }: { session: Session }) {
  const [readAt] = useRemembered(`read.${session.id}`)
  const state = SESSION_STATES[session.state]
  const unread = isUnread(session, readAt)
  return (
    <li>
      <NavLink
        className={({ isActive }) => `session-entry${isActive ? ' session-open' : ''}`}
        to={paths.session(session.project, session.id)}
        data-nav
      >
        <span className="session-line">
          <StateDot tone={state.tone} label={state.label} />
          <span className={unread ? 'session-title session-unread' : 'session-title'}>
            {session.title || (session.state === 'working' ? 'Starting' : ERASED)}
            {unread && <span className="sr-only">, unread</span>}
          </span>
          {unread && <span className="unread-dot" aria-hidden="true" />}
        </span>
        <span className="session-line session-sub">
          <span className="session-preview">{plainText(session.preview) || state.label}</span>
          <Ago at={session.updatedAt} />
        </span>
      </NavLink>
    </li>
  )
}

const URGENCY = { needs_input: 0, working: 1, idle: 2, closed: 2 } satisfies Record<
  Session['state'],
  number
>

function byUrgency(a: Session, b: Session): number {
  return URGENCY[a.state] - URGENCY[b.state] || b.updatedAt.localeCompare(a.updatedAt)
}
