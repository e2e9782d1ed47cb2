// The only place where an address is built: pages of this UI and of the API.

const encode = encodeURIComponent

function withQuery(path: string, query: Record<string, string>): string {
  const said = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== ''))
  return said.size === 0 ? path : `${path}?${said}`
}

export const paths = {
  dashboard: () => '/',
  signIn: () => '/sign-in',
  accountErased: () => '/sign-in?erased',
  projects: () => '/projects',
  newProject: () => '/projects/new',
  project: (project: string) => `/projects/${encode(project)}`,
  session: (project: string, session: string) =>
    `/projects/${encode(project)}/sessions/${encode(session)}`,
  /** Opens at a message that may be far back. */
  message: (project: string, session: string, message: string, position: number) =>
    `/projects/${encode(project)}/sessions/${encode(session)}?message=${encode(message)}&at=${position}`,
  ideas: (project: string) => `/projects/${encode(project)}/ideas`,
  projectSettings: (project: string) => `/projects/${encode(project)}/settings`,
  activity: (project: string) => `/projects/${encode(project)}/activity`,
  execution: (execution: string) => `/executions/${encode(execution)}`,
  executionAt: (execution: string, position: number) => `/executions/${encode(execution)}?at=${position}`,
  executionChanges: (execution: string) => `/executions/${encode(execution)}/changes`,
  nodes: () => '/nodes',
  workspace: (workspace: string) => `/workspaces/${encode(workspace)}`,
  settings: () => '/settings',
  system: () => '/settings/system',
  audit: (filter: Record<string, string> = {}) => withQuery('/settings/audit', filter),
  search: (text = '', project = '') => withQuery('/search', { q: text, project }),
}

export const endpoints = {
  signInLink: () => '/api/auth/link',
  signedIn: () => '/api/auth/session',
  signOut: () => '/api/auth/sign-out',
  account: () => '/api/account',
  agents: () => '/api/agents',
  credentials: () => '/api/credentials',
  credential: (kind: string) => `/api/credentials/${encode(kind)}`,
  projects: () => '/api/projects',
  project: (project: string) => `/api/projects/${encode(project)}`,
  variables: (project: string) => `/api/projects/${encode(project)}/variables`,
  variable: (project: string, name: string) =>
    `/api/projects/${encode(project)}/variables/${encode(name)}`,
  ideas: (project: string) => `/api/projects/${encode(project)}/ideas`,
  idea: (idea: string) => `/api/ideas/${encode(idea)}`,
  ideaExecutions: (idea: string) => `/api/ideas/${encode(idea)}/executions`,
  execution: (execution: string) => `/api/executions/${encode(execution)}`,
  executionDiff: (execution: string) => `/api/executions/${encode(execution)}/diff`,
  executionTimeline: (execution: string) => `/api/executions/${encode(execution)}/timeline`,
  moment: (execution: string, position: number) => `/api/executions/${encode(execution)}/at/${position}`,
  cancelExecution: (execution: string) => `/api/executions/${encode(execution)}/cancel`,
  executionInput: (execution: string) => `/api/executions/${encode(execution)}/input`,
  activity: (project: string) => `/api/projects/${encode(project)}/activity`,
  sessions: (project: string) => `/api/projects/${encode(project)}/sessions`,
  session: (session: string) => `/api/sessions/${encode(session)}`,
  sessionItems: (session: string) => `/api/sessions/${encode(session)}/items`,
  sessionMessages: (session: string) => `/api/sessions/${encode(session)}/messages`,
  permission: (session: string, request: string) =>
    `/api/sessions/${encode(session)}/permissions/${encode(request)}`,
  nodes: () => '/api/nodes',
  node: (node: string) => `/api/nodes/${encode(node)}`,
  stopNode: (node: string) => `/api/nodes/${encode(node)}/stop`,
  workspaces: () => '/api/workspaces',
  workspace: (workspace: string) => `/api/workspaces/${encode(workspace)}`,
  audit: () => '/api/audit',
  auditExport: () => '/api/audit/export',
  auditHeads: () => '/api/audit/heads',
  verifyAudit: () => '/api/audit/verify',
  projections: () => '/api/projections',
  retryProjection: (name: string) => `/api/projections/${encode(name)}/retry`,
  rebuildProjection: (name: string) => `/api/projections/${encode(name)}/rebuild`,
  search: () => '/api/search',
  live: () => '/api/live',
}
