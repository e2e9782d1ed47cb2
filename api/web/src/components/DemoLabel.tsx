import { Link } from 'react-router'
import type { CodingAgentKind } from '~/api/types'
import { paths } from '~/paths'
import { Note } from '~/ui/Notes'

export const AGENT_NAMES = {
  demo: 'Demo agent',
  'claude-code': 'Claude Code',
} satisfies Record<CodingAgentKind, string>

/** Which coding agent; the demo is marked as one wherever it is named. */
export function AgentName({ kind }: { kind: CodingAgentKind }) {
  return (
    <span className="agent-name">
      {AGENT_NAMES[kind]}
      {kind === 'demo' && <span className="demo-label">Demo</span>}
    </span>
  )
}

/** What the demo is, and how to leave it behind. */
export function DemoNote() {
  return (
    <Note>
      <p>
        <strong>Demo agent.</strong> It follows simple directives and understands nothing. To have an
        idea really carried out, <Link to={paths.settings()}>add an Anthropic key</Link> and choose
        Claude Code.
      </p>
    </Note>
  )
}
