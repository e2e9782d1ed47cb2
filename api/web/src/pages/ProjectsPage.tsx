import { useQuery } from '@tanstack/react-query'
import { projectsQuery } from '~/api/queries'
import { ProjectCard } from '~/components/ProjectCard'
import { paths } from '~/paths'
import { LinkButton } from '~/ui/Button'
import { EmptyState, ProblemNote, Waiting } from '~/ui/Notes'
import { Page } from '~/ui/Page'

export function ProjectsPage() {
  const projects = useQuery(projectsQuery)
  const newProject = (
    <LinkButton look="primary" icon="plus" to={paths.newProject()}>
      New project
    </LinkButton>
  )
  return (
    <Page title="Projects" actions={projects.data?.length === 0 ? undefined : newProject}>
      <ProblemNote error={projects.error} retry={() => void projects.refetch()} />
      {projects.isPending && <Waiting>Loading your projects</Waiting>}
      {projects.data?.length === 0 && (
        <EmptyState icon="folder" title="No project yet" action={newProject}>
          <p>A project links one Git repository to its conversations, ideas and workspaces.</p>
        </EmptyState>
      )}
      <ul className="cards">
        {projects.data?.map((project) => (
          <ProjectCard key={project.id} project={project} />
        ))}
      </ul>
    </Page>
  )
}
