import { useQueries, useQuery } from '@tanstack/react-query'
import { Link, useNavigate } from 'react-router'
import { keys } from '~/api/keys'
import { ideasQuery, nodesQuery, projectsQuery, signedInQuery, useWrite, writes } from '~/api/queries'
import type { Idea, Project } from '~/api/types'
import { AgentName } from '~/components/DemoLabel'
import { SAMPLE_IDEAS } from '~/components/NewIdea'
import { NodeBadge } from '~/components/NodeBadge'
import { ProjectCard } from '~/components/ProjectCard'
import { newId } from '~/lib/id'
import { count } from '~/lib/words'
import { paths } from '~/paths'
import { Badge } from '~/ui/Badge'
import { Button, LinkButton } from '~/ui/Button'
import { Ago } from '~/ui/Elapsed'
import { EmptyState, ProblemNote, Waiting } from '~/ui/Notes'
import { Page } from '~/ui/Page'

/** What is going on, at one glance. */
export function DashboardPage() {
  const projects = useQuery(projectsQuery)
  const isEmpty = projects.data?.length === 0
  return (
    <Page
      title="Dashboard"
      actions={
        isEmpty ? undefined : (
          <LinkButton look="primary" icon="plus" to={paths.newProject()}>
            New project
          </LinkButton>
        )
      }
    >
      <ProblemNote error={projects.error} retry={() => void projects.refetch()} />
      {projects.isPending && <Waiting>Loading your projects</Waiting>}
      {isEmpty && <FirstSteps />}
      {projects.data !== undefined && !isEmpty && (
        <>
          <RunningIdeas projects={projects.data} />
          <section aria-labelledby="projects">
            <h2 id="projects">Projects</h2>
            <ul className="cards">
              {projects.data.map((project) => (
                <ProjectCard key={project.id} project={project} />
              ))}
            </ul>
          </section>
          <Nodes />
        </>
      )}
    </Page>
  )
}

function FirstSteps() {
  const navigate = useNavigate()
  const sample = useQuery(signedInQuery).data?.sampleRepository
  const start = useWrite(
    async (repository: string) => {
      const [project, idea] = [newId(), newId()]
      await writes.createProject({ id: project, repository, name: 'Sample' })
      const accepted = await writes.submitIdea({
        project,
        idea,
        description: SAMPLE_IDEAS[1].text,
        stage: 'executing',
        codingAgent: 'demo',
      })
      return { project, session: accepted.session }
    },
    [keys.projects()],
  )
  const run = async (repository: string) => {
    const { project, session } = await start.mutateAsync(repository)
    await navigate(session ? paths.session(project, session) : paths.project(project))
  }
  if (!sample) {
    return (
      <EmptyState
        icon="folder"
        title="Link a repository to begin"
        action={
          <LinkButton look="primary" icon="plus" to={paths.newProject()}>
            Link a repository
          </LinkButton>
        }
      >
        <p>Any Git address or a folder on this machine. Then write what you want changed.</p>
      </EmptyState>
    )
  }
  return (
    <EmptyState
      icon="chat"
      title="See an idea become a branch"
      action={
        <div className="empty-actions">
          <Button
            look="primary"
            icon="send"
            blockedBy={start.isPending ? 'It is being set up' : undefined}
            onClick={() => void run(sample).catch(() => undefined)}
          >
            {start.isPending ? 'Setting up the sample' : 'Run a sample idea'}
          </Button>
          <Link to={paths.newProject()}>or link your own repository</Link>
        </div>
      }
    >
      <p>
        A small repository came with SAM. The demo agent makes a change to it in a container, on a
        branch of its own; no key or cloud account is needed.
      </p>
      <ProblemNote error={start.error} />
    </EmptyState>
  )
}

function RunningIdeas({ projects }: { projects: readonly Project[] }) {
  const results = useQueries({ queries: projects.map(({ id }) => ideasQuery(id)) })
  const running = results
    .flatMap(({ data = [] }) => data)
    .filter((idea) => idea.stage === 'executing')
    .sort((a, b) => Number(b.needsInput) - Number(a.needsInput))
  const names = new Map(projects.map(({ id, name }) => [id, name]))
  return (
    <section aria-labelledby="running">
      <h2 id="running">Running ideas</h2>
      {running.length === 0 ? (
        <p className="soft">Nothing runs at the moment.</p>
      ) : (
        <ul className="lines">
          {running.map((idea) => (
            <RunningIdea key={idea.id} idea={idea} project={names.get(idea.project) ?? ''} />
          ))}
        </ul>
      )}
    </section>
  )
}

function RunningIdea({ idea, project }: { idea: Idea; project: string }) {
  const to = idea.session ? paths.session(idea.project, idea.session) : paths.ideas(idea.project)
  return (
    <li>
      <Link to={to} className="line" data-nav>
        <Badge tone={idea.needsInput ? 'wait' : 'busy'}>{idea.needsInput ? 'Needs you' : 'Executing'}</Badge>
        <span className="line-title">{idea.title}</span>
        <span className="soft line-more">{project}</span>
        {idea.codingAgent ? <AgentName kind={idea.codingAgent} /> : null}
        <span className="soft">
          <Ago at={idea.updatedAt} />
        </span>
      </Link>
    </li>
  )
}

function Nodes() {
  const nodes = (useQuery(nodesQuery).data ?? []).filter(({ state }) => state !== 'stopped')
  return (
    <section aria-labelledby="nodes">
      <h2 id="nodes">Nodes</h2>
      {nodes.length === 0 ? (
        <p className="soft">None is running. One starts by itself when an idea needs it.</p>
      ) : (
        <ul className="lines">
          {nodes.map((node) => (
            <li key={node.id}>
              <Link to={paths.nodes()} className="line" data-nav>
                <NodeBadge node={node} />
                <span className="line-title">{node.name}</span>
                <span className="soft">{count(node.placed.length, 'workspace')} of {node.slots}</span>
              </Link>
            </li>
          ))}
        </ul>
      )}
    </section>
  )
}
