// The browser API over a world. Paths and bodies as in the contract; what a person would do wrong is refused as there.

import { randomUUID } from 'node:crypto'
import type { CodingAgentKind, Idea, Project, StartChoices } from '../src/api/types.ts'
import { ACCOUNT_ROUTES, OWNER } from './account.ts'
import { accepted, type Answer, type Body, found, gone, ok, problem, type Route, text } from './answers.ts'
import { branchFor, putPrompt, startExecution } from './execution.ts'
import { VARIABLE_ROUTES } from './variables.ts'
import type { World } from './world.ts'

const ROUTES: Route[] = [
  ...ACCOUNT_ROUTES,
  ...VARIABLE_ROUTES,
  ['GET', /^\/api\/auth\/session$/, (world) => ok({ account: { id: 'owner', name: OWNER }, installation: 'simulated', version: '0.1.0', ...(world.projects.size === 0 ? { sampleRepository: '/var/lib/sam/sample.git' } : {}) })],
  ['GET', /^\/api\/agents$/, agents],
  ['GET', /^\/api\/credentials$/, (world) => ok([...world.credentials.values()])],
  ['PUT', /^\/api\/credentials\/([^/]+)$/, saveCredential],
  ['DELETE', /^\/api\/credentials\/([^/]+)$/, (world, [kind = '']) => {
    world.credentials.delete(kind)
    return accepted(world.record('CredentialRemoved', {}, 'A key was removed'))
  }],
  ['GET', /^\/api\/projects$/, (world) => ok([...world.projects.values()])],
  ['POST', /^\/api\/projects$/, createProject],
  ['GET', /^\/api\/projects\/([^/]+)$/, (world, [id = '']) => found(world.projects.get(id))],
  ['PATCH', /^\/api\/projects\/([^/]+)$/, changeProject],
  ['GET', /^\/api\/projects\/([^/]+)\/ideas$/, (world, [id]) => ok(newest([...world.ideas.values()].filter(({ project }) => project === id)))],
  ['POST', /^\/api\/projects\/([^/]+)\/ideas$/, submitIdea],
  ['GET', /^\/api\/ideas\/([^/]+)$/, (world, [id = '']) => found(world.ideas.get(id))],
  ['PATCH', /^\/api\/ideas\/([^/]+)$/, changeIdea],
  ['POST', /^\/api\/ideas\/([^/]+)\/executions$/, execute],
  ['GET', /^\/api\/executions\/([^/]+)$/, (world, [id = '']) => found(world.executions.get(id))],
  ['GET', /^\/api\/executions\/([^/]+)\/diff$/, (world, [id = '']) => {
    const text = world.diffs.get(id)
    return text === undefined ? problem(404, 'no_diff', 'There is no diff.') : { status: 200, text }
  }],
  ['POST', /^\/api\/executions\/([^/]+)\/cancel$/, (world, [id = '']) => {
    world.cancels.get(id)?.()
    return accepted(world.position)
  }],
  ['POST', /^\/api\/executions\/([^/]+)\/input$/, (world, [id = ''], body) => answered(world, id, text(body, 'choice'))],
  ['GET', /^\/api\/projects\/([^/]+)\/sessions$/, (world, [id]) => ok(newest([...world.sessions.values()].filter(({ project }) => project === id)))],
  ['GET', /^\/api\/sessions\/([^/]+)$/, (world, [id = '']) => found(world.sessions.get(id))],
  ['GET', /^\/api\/sessions\/([^/]+)\/items$/, itemPage],
  ['POST', /^\/api\/sessions\/([^/]+)\/messages$/, sendMessage],
  ['POST', /^\/api\/sessions\/([^/]+)\/permissions\/([^/]+)$/, (world, [, request = ''], body) => answered(world, request, text(body, 'option'))],
  ['GET', /^\/api\/nodes$/, (world) => ok([...world.nodes.values()])],
  ['GET', /^\/api\/nodes\/([^/]+)$/, (world, [id = '']) => found(world.nodes.get(id))],
  ['POST', /^\/api\/nodes\/([^/]+)\/stop$/, stopNode],
  ['GET', /^\/api\/workspaces$/, (world) => ok([...world.workspaces.values()].reverse())],
  ['GET', /^\/api\/workspaces\/([^/]+)$/, (world, [id = '']) => found(world.workspaces.get(id))],
]

export function answerTo(world: World, method: string, url: URL, body: Body): Answer {
  for (const [routeMethod, pattern, handler] of ROUTES) {
    const match = method === routeMethod ? pattern.exec(url.pathname) : null
    if (match !== null) return handler(world, match.slice(1).map(decodeURIComponent), body, url.searchParams)
  }
  return problem(404, 'no_such_page', 'The API has no such address.')
}

function agents(world: World): Answer {
  const hasKey = world.credentials.has('anthropic')
  return ok([
    { kind: 'demo', name: 'Demo agent', isDemo: true, isAvailable: true, hint: 'Follows directives; needs no key.' },
    {
      kind: 'claude-code',
      name: 'Claude Code',
      isDemo: false,
      isAvailable: hasKey,
      ...(hasKey ? {} : { needs: 'anthropic key', hint: 'Add an Anthropic key below to use it.' }),
    },
  ])
}

function saveCredential(world: World, [kind = '']: string[], body: Body): Answer {
  if (kind !== 'anthropic') return gone()
  const secret = text(body, 'secret')
  if (!secret.startsWith('sk-')) return problem(422, 'not_a_key', 'That does not look like an Anthropic key: they begin with "sk-ant-".')
  world.credentials.set(kind, { kind, addedAt: world.now(), lastFour: secret.slice(-4) })
  return accepted(world.record('CredentialSaved', {}, 'A key was saved'))
}

function createProject(world: World, _: string[], body: Body): Answer {
  const [id, repository] = [text(body, 'id'), text(body, 'repository')]
  if (repository.includes('missing')) {
    return problem(422, 'repository_not_found', `There is no repository at ${repository}. Check the address, or that this machine's git may read it.`)
  }
  if (!world.projects.has(id)) {
    world.projects.set(id, {
      id,
      repository,
      name: text(body, 'name') || (repository.replace(/\.git$/, '').split('/').at(-1) ?? repository),
      createdAt: world.now(),
      defaults: { codingAgent: null, profile: 'full', permissions: 'allow', vmSize: null, provider: null },
      nExecuting: 0,
      lastActivityAt: world.now(),
    })
  }
  return accepted(world.record('ProjectCreated', { project: id }, 'A project was created'))
}

function changeProject(world: World, [id = '']: string[], body: Body): Answer {
  const project = world.projects.get(id)
  if (project === undefined) return gone()
  const { name, defaults } = body as Partial<Project>
  world.projects.set(id, { ...project, name: name ?? project.name, defaults: defaults ?? project.defaults })
  return accepted(world.record('ProjectChanged', { project: id }, 'The project changed'))
}

function submitIdea(world: World, [id = '']: string[], body: Body): Answer {
  const project = world.projects.get(id)
  const [idea, description] = [text(body, 'idea'), text(body, 'description')]
  if (project === undefined) return gone()
  if (description.trim() === '') return problem(422, 'empty_description', 'An idea needs a sentence.')
  const stage = text(body, 'stage') === 'ready' ? 'ready' : 'exploring'
  const created = world.ideas.get(idea) ?? newIdea(world, id, idea, description, stage)
  if (text(body, 'stage') === 'executing' && created.executions.length === 0) {
    startExecution(world, project, created, randomUUID(), choicesIn(body))
  }
  const { session, execution } = world.ideas.get(idea) ?? created
  return accepted(world.position, { idea, session, execution })
}

function newIdea(world: World, project: string, id: string, description: string, stage: 'exploring' | 'ready'): Idea {
  const title = (description.split('\n')[0] ?? '').slice(0, 100)
  const idea: Idea = {
    id,
    project,
    title,
    description,
    stage,
    executions: [],
    createdAt: world.now(),
    updatedAt: world.now(),
    needsInput: false,
  }
  world.ideas.set(id, idea)
  world.record('IdeaCreated', { idea: id, project }, 'An idea was noted', 'Owner')
  return idea
}

function changeIdea(world: World, [id = '']: string[], body: Body): Answer {
  const idea = world.ideas.get(id)
  if (idea === undefined) return gone()
  if (idea.stage === 'done' || idea.stage === 'executing') return problem(409, 'not_movable', 'This idea cannot be changed now.')
  const { description, stage } = body as Partial<Idea>
  world.changeIdea(id, { ...(description === undefined ? {} : { description }), ...(stage === undefined ? {} : { stage, parkedReason: null }) }, 'IdeaChanged')
  return accepted(world.position)
}

function execute(world: World, [id = '']: string[], body: Body): Answer {
  const idea = world.ideas.get(id)
  const project = idea && world.projects.get(idea.project)
  if (!idea || !project) return gone()
  if (idea.stage === 'executing') return problem(409, 'already_executing', 'This idea is being executed already.')
  const execution = text(body, 'execution')
  // A retry of an idea that loses or fails on purpose goes well the second time.
  const description = idea.executions.length > 0 ? idea.description.replaceAll(/^(fail|lose|hang).*$/gm, 'say: This time it works.') : idea.description
  startExecution(world, project, { ...idea, description }, execution, choicesIn(body))
  return accepted(world.position, { idea: id, execution, session: world.ideas.get(id)?.session })
}

function itemPage(world: World, [id = '']: string[], _: Body, query: URLSearchParams): Answer {
  if (!world.sessions.has(id)) return gone()
  const before = Number(query.get('before') ?? Number.POSITIVE_INFINITY)
  const limit = Number(query.get('limit') ?? 100)
  const earlier = [...(world.items.get(id)?.values() ?? [])].filter(({ position }) => position < before).sort((a, b) => a.position - b.position)
  return ok({ items: earlier.slice(-limit), hasMore: earlier.length > limit, position: world.position })
}

function sendMessage(world: World, [id = '']: string[], body: Body): Answer {
  const session = world.sessions.get(id)
  const project = session && world.projects.get(session.project)
  if (!session || !project) return gone()
  const [message, written] = [text(body, 'message'), text(body, 'text')]
  const execution = world.executions.get(session.execution ?? '')
  if (execution?.state === 'running') {
    world.queued.set(id, [...(world.queued.get(id) ?? []), { message, text: written }])
    putPrompt(world, id, written, message, true)
    return accepted(world.position)
  }
  putPrompt(world, id, written, message)
  const idea = newIdea(world, project.id, randomUUID(), written, 'ready')
  const next = { ...idea, session: id, branch: execution?.branch ?? branchFor(written) }
  world.ideas.set(idea.id, next)
  const started = randomUUID()
  startExecution(world, project, next, started, {})
  return accepted(world.position, { idea: idea.id, execution: started, session: id })
}

function stopNode(world: World, [id = '']: string[]): Answer {
  const node = world.nodes.get(id)
  if (node === undefined) return gone()
  world.nodes.set(id, { ...node, state: 'stopped', warmUntil: null })
  return accepted(world.record('NodeStopped', { node: id }, 'Stopped', 'Owner'))
}

function answered(world: World, request: string, answer: string): Answer {
  const waiting = world.waiting.get(request)
  if (waiting === undefined) return problem(409, 'not_waiting', 'Nobody waits for this answer any more.')
  world.waiting.delete(request)
  waiting(answer)
  return accepted(world.position)
}

function choicesIn(body: Body): StartChoices {
  const { codingAgent, profile, baseBranch, permissions } = body as StartChoices
  const kinds: CodingAgentKind[] = ['demo', 'claude-code']
  return {
    ...(codingAgent && kinds.includes(codingAgent) ? { codingAgent } : {}),
    ...(profile === undefined ? {} : { profile }),
    ...(baseBranch === undefined ? {} : { baseBranch }),
    ...(permissions === undefined ? {} : { permissions }),
  }
}

function newest<T extends { updatedAt: string }>(entries: T[]): T[] {
  return entries.sort((a, b) => b.updatedAt.localeCompare(a.updatedAt))
}
