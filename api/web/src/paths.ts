// The only place where an address is built: pages of this UI and of the API.

const encode = encodeURIComponent

export const paths = {
  dashboard: () => '/',
  signIn: () => '/sign-in',
  projects: () => '/projects',
  newProject: () => '/projects/new',
  project: (project: string) => `/projects/${encode(project)}`,
  session: (project: string, session: string) =>
    `/projects/${encode(project)}/sessions/${encode(session)}`,
  ideas: (project: string) => `/projects/${encode(project)}/ideas`,
  projectSettings: (project: string) => `/projects/${encode(project)}/settings`,
  execution: (execution: string) => `/executions/${encode(execution)}`,
  executionDiff: (execution: string) => `/executions/${encode(execution)}#diff`,
  nodes: () => '/nodes',
  workspace: (workspace: string) => `/workspaces/${encode(workspace)}`,
  settings: () => '/settings',
}

export const endpoints = {
  signInLink: () => '/api/auth/link',
  signedIn: () => '/api/auth/session',
  signOut: () => '/api/auth/sign-out',
  agents: () => '/api/agents',
  credentials: () => '/api/credentials',
  credential: (kind: string) => `/api/credentials/${encode(kind)}`,
  projects: () => '/api/projects',
  project: (project: string) => `/api/projects/${encode(project)}`,
  ideas: (project: string) => `/api/projects/${encode(project)}/ideas`,
  idea: (idea: string) => `/api/ideas/${encode(idea)}`,
  ideaExecutions: (idea: string) => `/api/ideas/${encode(idea)}/executions`,
  execution: (execution: string) => `/api/executions/${encode(execution)}`,
  executionDiff: (execution: string) => `/api/executions/${encode(execution)}/diff`,
  executionTimeline: (execution: string) => `/api/executions/${encode(execution)}/timeline`,
  cancelExecution: (execution: string) => `/api/executions/${encode(execution)}/cancel`,
  executionInput: (execution: string) => `/api/executions/${encode(execution)}/input`,
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
  live: () => '/api/live',
}
