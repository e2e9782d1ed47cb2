// Every page on one page. The first one comes with the frame; the others are fetched when somebody goes there, and
// ahead of that once the browser has nothing better to do.

import { createBrowserRouter, type RouteObject } from 'react-router'
import { AppFrame } from '~/components/AppFrame'
import { DashboardPage } from '~/pages/DashboardPage'
import { ErrorPage } from '~/pages/ErrorPage'
import { fetchMenuList } from '~/ui/Menu'
import { Waiting } from '~/ui/Notes'

type Component = () => React.ReactNode

const fetchers: (() => Promise<Component>)[] = []

/** A page whose code is a file of its own. */
function later(fetchPage: () => Promise<Component>): Pick<RouteObject, 'lazy'> {
  fetchers.push(fetchPage)
  return { lazy: { Component: fetchPage } }
}

const fetchChat = async () => (await import('~/pages/ProjectChatPage')).ProjectChatPage

export const router = createBrowserRouter([
  {
    path: '/sign-in',
    ErrorBoundary: ErrorPage,
    HydrateFallback: Loading,
    ...later(async () => (await import('~/pages/SignInPage')).SignInPage),
  },
  {
    Component: AppFrame,
    ErrorBoundary: ErrorPage,
    HydrateFallback: Loading,
    children: [
      {
        ErrorBoundary: ErrorPage,
        children: [
          { index: true, Component: DashboardPage },
          {
            path: 'projects',
            ...later(async () => (await import('~/pages/ProjectsPage')).ProjectsPage),
          },
          {
            path: 'projects/new',
            ...later(async () => (await import('~/pages/NewProjectPage')).NewProjectPage),
          },
          { path: 'projects/:project', ...later(fetchChat) },
          { path: 'projects/:project/sessions/:session', ...later(fetchChat) },
          {
            path: 'projects/:project/ideas',
            ...later(async () => (await import('~/pages/IdeasPage')).IdeasPage),
          },
          {
            path: 'projects/:project/activity',
            ...later(async () => (await import('~/pages/ActivityPage')).ActivityPage),
          },
          {
            path: 'projects/:project/settings',
            ...later(async () => (await import('~/pages/ProjectSettingsPage')).ProjectSettingsPage),
          },
          {
            path: 'executions/:execution',
            ...later(async () => (await import('~/pages/ExecutionPage')).ExecutionTimelinePage),
          },
          {
            path: 'executions/:execution/changes',
            ...later(async () => (await import('~/pages/ExecutionPage')).ExecutionChangesPage),
          },
          {
            path: 'nodes',
            ...later(async () => (await import('~/pages/NodesPage')).NodesPage),
          },
          {
            path: 'workspaces/:workspace',
            ...later(async () => (await import('~/pages/WorkspacePage')).WorkspacePage),
          },
          {
            path: 'settings',
            ...later(async () => (await import('~/pages/SettingsPage')).SettingsPage),
          },
          {
            path: 'settings/system',
            ...later(async () => (await import('~/pages/SystemPage')).SystemPage),
          },
          {
            path: 'settings/audit',
            ...later(async () => (await import('~/pages/AuditPage')).AuditPage),
          },
          {
            path: 'search',
            ...later(async () => (await import('~/pages/SearchPage')).SearchPage),
          },
          {
            path: '*',
            ...later(async () => (await import('~/pages/NotFoundPage')).NotFoundPage),
          },
        ],
      },
    ],
  },
])

/** Fetches every page's code, so that going there later waits for nothing. */
export function fetchPagesAhead(): void {
  // A page that cannot be fetched now is fetched, or complained about, when somebody goes there.
  for (const fetchPage of [...fetchers, fetchMenuList]) void fetchPage().catch(() => undefined)
}

function Loading() {
  return (
    <main className="lonely">
      <Waiting>Loading the page</Waiting>
    </main>
  )
}
