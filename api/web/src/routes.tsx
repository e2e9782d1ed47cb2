// Every page on one page.

import { createBrowserRouter } from 'react-router'
import { AppFrame } from '~/components/AppFrame'
import { DashboardPage } from '~/pages/DashboardPage'
import { ErrorPage } from '~/pages/ErrorPage'
import { ExecutionPage } from '~/pages/ExecutionPage'
import { IdeasPage } from '~/pages/IdeasPage'
import { NewProjectPage } from '~/pages/NewProjectPage'
import { NodesPage } from '~/pages/NodesPage'
import { NotFoundPage } from '~/pages/NotFoundPage'
import { ProjectChatPage } from '~/pages/ProjectChatPage'
import { ProjectSettingsPage } from '~/pages/ProjectSettingsPage'
import { ProjectsPage } from '~/pages/ProjectsPage'
import { SettingsPage } from '~/pages/SettingsPage'
import { SignInPage } from '~/pages/SignInPage'
import { WorkspacePage } from '~/pages/WorkspacePage'

export const router = createBrowserRouter([
  { path: '/sign-in', Component: SignInPage, ErrorBoundary: ErrorPage },
  {
    Component: AppFrame,
    ErrorBoundary: ErrorPage,
    children: [
      {
        ErrorBoundary: ErrorPage,
        children: [
          { index: true, Component: DashboardPage },
          { path: 'projects', Component: ProjectsPage },
          { path: 'projects/new', Component: NewProjectPage },
          { path: 'projects/:project', Component: ProjectChatPage },
          { path: 'projects/:project/sessions/:session', Component: ProjectChatPage },
          { path: 'projects/:project/ideas', Component: IdeasPage },
          { path: 'projects/:project/settings', Component: ProjectSettingsPage },
          { path: 'executions/:execution', Component: ExecutionPage },
          { path: 'nodes', Component: NodesPage },
          { path: 'workspaces/:workspace', Component: WorkspacePage },
          { path: 'settings', Component: SettingsPage },
          { path: '*', Component: NotFoundPage },
        ],
      },
    ],
  },
])
