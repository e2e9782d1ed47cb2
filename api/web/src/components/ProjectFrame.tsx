import { useQuery } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { NavLink } from 'react-router'
import { projectQuery } from '~/api/queries'
import { paths } from '~/paths'
import { Icon } from '~/ui/Icon'
import { useTitle } from '~/ui/Page'
import { ProblemNote } from '~/ui/Notes'

/** A project's head with its places; the page below. */
export function ProjectFrame({ project, children }: { project: string; children: ReactNode }) {
  const { data, error } = useQuery(projectQuery(project))
  useTitle(data?.name ?? 'Project')
  if (error !== null && data === undefined) {
    return (
      <div className="page">
        <ProblemNote error={error} />
      </div>
    )
  }
  return (
    <div className="project-frame">
      <header className="project-head">
        <h1 title={data?.repository}>{data?.name ?? '…'}</h1>
        <nav aria-label="Project" className="tabs">
          <NavLink to={paths.project(project)} end className={({ isActive }) => tab(isActive || isChat())}>
            <Icon name="chat" />
            <span className="tab-long">Chat</span>
          </NavLink>
          <NavLink to={paths.ideas(project)} className={({ isActive }) => tab(isActive)}>
            <Icon name="board" />
            <span className="tab-long">Ideas</span>
          </NavLink>
          <NavLink to={paths.activity(project)} className={({ isActive }) => tab(isActive)}>
            <Icon name="clock" />
            <span className="tab-long">Activity</span>
          </NavLink>
          <NavLink to={paths.projectSettings(project)} className={({ isActive }) => tab(isActive)}>
            <Icon name="gear" />
            <span className="tab-long">Settings</span>
          </NavLink>
        </nav>
      </header>
      {children}
    </div>
  )
}

function tab(isActive: boolean): string {
  return isActive ? 'tab tab-active' : 'tab'
}

function isChat(): boolean {
  return location.pathname.includes('/sessions/')
}
