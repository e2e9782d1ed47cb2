import { Link } from 'react-router'
import type { Project } from '~/api/types'
import { count } from '~/lib/words'
import { paths } from '~/paths'
import { Badge } from '~/ui/Badge'
import { Ago } from '~/ui/Elapsed'

export function ProjectCard({ project }: { project: Project }) {
  return (
    <li className="card">
      <Link to={paths.project(project.id)} className="card-main" data-nav>
        <span className="card-title">{project.name}</span>
        <span className="card-sub" title={project.repository}>
          {project.repository}
        </span>
      </Link>
      <p className="card-foot">
        {project.nExecuting > 0 ? (
          <Badge tone="busy">{`${count(project.nExecuting, 'idea')} running`}</Badge>
        ) : (
          <span className="soft">
            Active <Ago at={project.lastActivityAt} />
          </span>
        )}
        <Link to={paths.ideas(project.id)} aria-label={`Ideas of ${project.name}`}>
          Ideas
        </Link>
      </p>
    </li>
  )
}
