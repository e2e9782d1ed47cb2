import type { NodeView } from '~/api/types'
import { minutesUntil } from '~/lib/time'
import { useNow } from '~/lib/useNow'
import { NODE_STATES } from '~/lib/words'
import { Badge } from '~/ui/Badge'

/** Shows what a node is doing and, for a warm one, how long it still waits. */
export function NodeBadge({ node }: { node: NodeView }) {
  const now = useNow({ everySeconds: 30 })
  if (node.state === 'running' && !node.isHealthy) return <Badge tone="bad">Silent</Badge>
  if (node.state === 'running' && node.warmUntil) {
    return <Badge tone="muted">{`Warm, ${minutesUntil(node.warmUntil, now)} min left`}</Badge>
  }
  const { label, tone } = NODE_STATES[node.state]
  return <Badge tone={tone}>{label}</Badge>
}
