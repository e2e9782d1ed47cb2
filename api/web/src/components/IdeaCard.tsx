import type { KeyboardEvent, PointerEvent } from 'react'
import { useNavigate } from 'react-router'
import { type BoardMove, ideaCan, movesOf } from '~/api/can'
import { keys } from '~/api/keys'
import { useWrite, writes } from '~/api/queries'
import type { Idea, Stage } from '~/api/types'
import { AgentName } from '~/components/DemoLabel'
import { newId } from '~/lib/id'
import { ERASED, STAGES } from '~/lib/words'
import { paths } from '~/paths'
import { useAnnounce } from '~/ui/Announcer'
import { Badge } from '~/ui/Badge'
import { IconButton } from '~/ui/Button'
import { Ago } from '~/ui/Elapsed'
import { Menu, type MenuEntry } from '~/ui/Menu'
import { ProblemNote } from '~/ui/Notes'

const ORDER = ['exploring', 'ready', 'executing', 'done', 'parked'] as const satisfies Stage[]

/** An idea on the board. `[` and `]` move it, as dragging does; `x` executes it. */
export function IdeaCard({
  idea,
  open,
  moveTo,
  startDrag,
}: {
  idea: Idea
  open: () => void
  moveTo: (stage: BoardMove) => void
  startDrag: (event: PointerEvent) => void
}) {
  const navigate = useNavigate()
  const announce = useAnnounce()
  const touched = [keys.ideas(idea.project), keys.idea(idea.id), keys.sessions(idea.project)]
  const execute = useWrite(writes.execute, touched)
  const moves = movesOf(idea.stage)

  const run = async () => {
    const { session } = await execute.mutateAsync({ idea: idea.id, execution: newId() })
    const target = session ?? idea.session
    announce(`${idea.title}: executing`)
    if (target) await navigate(paths.session(idea.project, target))
  }
  const onKeyDown = (event: KeyboardEvent) => {
    const here = ORDER.indexOf(idea.stage)
    const left = moves.findLast((stage) => ORDER.indexOf(stage) < here)
    const right = moves.find((stage) => ORDER.indexOf(stage) > here)
    if (event.key === '[' && left !== undefined) moveTo(left)
    if (event.key === ']' && right !== undefined) moveTo(right)
    if (event.key === 'x' && ideaCan(idea, 'execute')) void run().catch(() => undefined)
  }
  const entries: MenuEntry[] = [
    { label: 'Open', act: open },
    ...(ideaCan(idea, 'execute')
      ? [{ label: 'Execute', act: () => void run().catch(() => undefined) }]
      : []),
    ...moves.map((stage) => ({ label: `Move to ${STAGES[stage].label}`, act: () => moveTo(stage) })),
    ...(idea.session
      ? [
          {
            label: 'Go to the conversation',
            act: () => void navigate(paths.session(idea.project, idea.session ?? '')),
          },
        ]
      : []),
  ]
  return (
    <li className="idea-card">
      <button
        type="button"
        className="idea-open"
        data-nav
        onClick={open}
        onKeyDown={onKeyDown}
        onPointerDown={startDrag}
      >
        <span className="idea-title">{idea.title || ERASED}</span>
        {idea.parkedReason ? <span className="idea-reason">{idea.parkedReason}</span> : null}
        <span className="idea-facts">
          {idea.needsInput && <Badge tone="wait">Needs you</Badge>}
          {idea.codingAgent ? <AgentName kind={idea.codingAgent} /> : null}
          <Ago at={idea.updatedAt} />
        </span>
      </button>
      <Menu
        trigger={<IconButton icon="menu" label={`Actions for ${idea.title}`} />}
        entries={entries}
      />
      <ProblemNote error={execute.error} />
    </li>
  )
}
