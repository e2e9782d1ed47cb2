// Names of what is in the query cache, and which of them a change touches.

import type { ServerFrame } from '~/api/types'

export const keys = {
  signedIn: () => ['signed-in'],
  agents: () => ['agents'],
  credentials: () => ['credentials'],
  projects: () => ['projects'],
  project: (project: string) => ['project', project],
  variables: (project: string) => ['variables', project],
  ideas: (project: string) => ['ideas', project],
  allIdeas: () => ['ideas'],
  idea: (idea: string) => ['idea', idea],
  execution: (execution: string) => ['execution', execution],
  diff: (execution: string) => ['diff', execution],
  timeline: (execution: string) => ['timeline', execution],
  moment: (execution: string, position: number) => ['moment', execution, String(position)],
  activity: (project: string) => ['activity', project],
  audit: (filter: string) => ['audit', filter],
  auditHeads: () => ['audit-heads'],
  projections: () => ['projections'],
  search: (text: string, project: string) => ['search', text, project],
  sessions: (project: string) => ['sessions', project],
  session: (session: string) => ['session', session],
  items: (session: string) => ['items', session],
  itemsAround: (session: string, position: number) => ['items-around', session, String(position)],
  nodes: () => ['nodes'],
  workspaces: () => ['workspaces'],
  workspace: (workspace: string) => ['workspace', workspace],
}

type Changed = Extract<ServerFrame, { type: 'changed' }>

/** Which queries have to be read again. A conversation's items are not among them: they are streamed. */
export function changedKeys(changed: Changed): (readonly string[])[] {
  const { event, project, idea, execution, session, node, workspace } = changed
  const touched: (readonly string[])[] = []
  if (project) touched.push(keys.project(project), keys.activity(project))
  if (project && !session && !node && !workspace) touched.push(keys.projects(), keys.variables(project))
  if (idea) touched.push(keys.idea(idea))
  if (idea || execution) touched.push(project ? keys.ideas(project) : keys.allIdeas())
  if (execution) touched.push(keys.execution(execution), keys.timeline(execution), keys.projects())
  // A conversation has the title of the idea that it began with; which one that is, is not known here.
  const isTitled = event === 'idea/titled'
  if (isTitled) touched.push(['session'])
  if (session) touched.push(keys.session(session))
  if (session || execution || isTitled) touched.push(project ? keys.sessions(project) : ['sessions'])
  if (node) touched.push(keys.nodes())
  if (workspace) touched.push(keys.workspaces(), keys.workspace(workspace))
  if (touched.length === 0) touched.push(keys.credentials(), keys.agents(), keys.projects())
  return touched
}
