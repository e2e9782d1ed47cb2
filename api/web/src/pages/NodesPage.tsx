import { useQuery } from '@tanstack/react-query'
import { Link } from 'react-router'
import { nodeCan } from '~/api/can'
import { keys } from '~/api/keys'
import { nodesQuery, projectsQuery, useWrite, workspacesQuery, writes } from '~/api/queries'
import type { NodeView, Workspace } from '~/api/types'
import { NodeBadge } from '~/components/NodeBadge'
import { count, WORKSPACE_STATES } from '~/lib/words'
import { paths } from '~/paths'
import { Badge } from '~/ui/Badge'
import { Button } from '~/ui/Button'
import { Ago } from '~/ui/Elapsed'
import { EmptyState, ProblemNote, Waiting } from '~/ui/Notes'
import { Page } from '~/ui/Page'

/** The machines, and the containers on them. */
export function NodesPage() {
  const nodes = useQuery(nodesQuery)
  const workspaces = useQuery(workspacesQuery)
  return (
    <Page title="Nodes and workspaces">
      <section aria-labelledby="nodes">
        <h2 id="nodes">Nodes</h2>
        <ProblemNote error={nodes.error} retry={() => void nodes.refetch()} />
        {nodes.isPending && <Waiting>Loading the nodes</Waiting>}
        {nodes.data?.length === 0 && (
          <EmptyState icon="server" title="No node yet">
            <p>This machine becomes a node by itself when the first idea is sent.</p>
          </EmptyState>
        )}
        <ul className="cards">
          {nodes.data?.map((node) => (
            <NodeCard key={node.id} node={node} />
          ))}
        </ul>
      </section>
      <section aria-labelledby="workspaces">
        <h2 id="workspaces">Workspaces</h2>
        <ProblemNote error={workspaces.error} />
        {workspaces.data?.length === 0 && <p className="soft">None yet. Each execution gets one of its own.</p>}
        <WorkspaceLines workspaces={workspaces.data ?? []} />
      </section>
    </Page>
  )
}

function NodeCard({ node }: { node: NodeView }) {
  const stop = useWrite(writes.stopNode, [keys.nodes()])
  return (
    <li className="card">
      <div className="card-main">
        <span className="card-title">{node.name}</span>
        <span className="card-sub">
          {node.provider}
          {node.engine ? `, ${node.engine}` : ''}
          {node.agentVersion ? `, agent ${node.agentVersion}` : ''}
        </span>
        {node.reason ? <span className="card-reason">{node.reason}</span> : null}
      </div>
      <p className="card-foot">
        <NodeBadge node={node} />
        <span className="soft">
          {count(node.placed.length, 'workspace')} of {node.slots}
        </span>
        {node.lastHeartbeatAt ? (
          <span className="soft">
            heard <Ago at={node.lastHeartbeatAt} />
          </span>
        ) : null}
        {nodeCan(node, 'stop') && (
          <Button
            icon="stop"
            blockedBy={
              node.placed.length > 0
                ? 'Workspaces still run on it: cancel their ideas first'
                : stop.isPending
                  ? 'It is being stopped'
                  : undefined
            }
            onClick={() => stop.mutate(node.id)}
          >
            Stop
          </Button>
        )}
      </p>
      <ProblemNote error={stop.error} />
    </li>
  )
}

function WorkspaceLines({ workspaces }: { workspaces: readonly Workspace[] }) {
  const projects = new Map((useQuery(projectsQuery).data ?? []).map(({ id, name }) => [id, name]))
  return (
    <ul className="lines">
      {workspaces.map((workspace) => {
        const state = WORKSPACE_STATES[workspace.state]
        return (
          <li key={workspace.id}>
            <Link to={paths.workspace(workspace.id)} className="line" data-nav>
              <Badge tone={state.tone}>{state.label}</Badge>
              <code className="line-title">{workspace.branch}</code>
              <span className="soft line-more">{projects.get(workspace.project)}</span>
              <span className="soft">
                <Ago at={workspace.createdAt} />
              </span>
            </Link>
          </li>
        )
      })}
    </ul>
  )
}
