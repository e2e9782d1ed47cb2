import { useQuery } from '@tanstack/react-query'
import { useMemo, useRef, useState } from 'react'
import { useParams } from 'react-router'
import { type BoardMove, movesOf } from '~/api/can'
import { keys } from '~/api/keys'
import { ideasQuery, projectQuery, useWrite, writes } from '~/api/queries'
import type { Idea, Stage } from '~/api/types'
import { type Drag, useBoardDrag } from '~/components/boardDrag'
import { DraftDialog } from '~/components/DraftDialog'
import { IdeaCard } from '~/components/IdeaCard'
import { IdeaDialog } from '~/components/IdeaDialog'
import { ProjectFrame } from '~/components/ProjectFrame'
import { matches } from '~/lib/search'
import { useShortcuts } from '~/lib/shortcuts'
import { STAGES } from '~/lib/words'
import { useAnnounce } from '~/ui/Announcer'
import { Button } from '~/ui/Button'
import { Icon } from '~/ui/Icon'
import { ProblemNote, Waiting } from '~/ui/Notes'

const COLUMNS = ['exploring', 'ready', 'executing', 'done', 'parked'] as const satisfies Stage[]

const EMPTY = {
  exploring: 'Drafts that are still thought about.',
  ready: 'Drafts that could be executed.',
  executing: 'What agents work on now.',
  done: 'What became a branch.',
  parked: 'What failed or was cancelled.',
} satisfies Record<Stage, string>

/** Every idea of a project, by stage. */
export function IdeasPage() {
  const { project = '' } = useParams()
  const ideas = useQuery(ideasQuery(project))
  const projectData = useQuery(projectQuery(project)).data
  const [search, setSearch] = useState('')
  const [isDrafting, setIsDrafting] = useState(false)
  const [openIdea, setOpenIdea] = useState<string>()
  const announce = useAnnounce()
  const move = useWrite(writes.changeIdea, [keys.ideas(project), keys.sessions(project)])
  const moveTo = (idea: Idea, stage: BoardMove) => {
    move.mutate({ idea: idea.id, stage })
    announce(`${idea.title}: moved to ${STAGES[stage].label}`)
  }
  const { drag, start } = useBoardDrag(moveTo)
  const searchField = useRef<HTMLInputElement>(null)
  useShortcuts(
    useMemo(
      () => [
        { keys: '/', label: 'Search', act: () => searchField.current?.focus() },
        { keys: 'n', label: 'New draft', act: () => setIsDrafting(true) },
      ],
      [],
    ),
  )
  const found = (ideas.data ?? []).filter((idea) => matches(search, `${idea.title} ${idea.description}`))
  const open = ideas.data?.find(({ id }) => id === openIdea)
  return (
    <ProjectFrame project={project}>
      <div className="board-page">
        <div className="board-bar">
          <label className="search-field">
            <Icon name="search" />
            <span className="sr-only">Search ideas</span>
            <input
              ref={searchField}
              type="search"
              placeholder="Search ideas"
              value={search}
              onChange={(event) => setSearch(event.target.value)}
            />
          </label>
          <Button look="primary" icon="plus" onClick={() => setIsDrafting(true)}>
            New draft
          </Button>
        </div>
        <ProblemNote error={move.error} />
        <ProblemNote error={ideas.error} retry={() => void ideas.refetch()} />
        {ideas.isPending && <Waiting>Loading the ideas</Waiting>}
        <div className="board">
          {COLUMNS.map((stage) => {
            const inStage = found.filter((idea) => idea.stage === stage)
            return (
              <section key={stage} data-stage={stage} className={columnClass(stage, drag)} aria-labelledby={`stage-${stage}`}>
                <h2 id={`stage-${stage}`}>
                  {STAGES[stage].label} <span className="soft">{inStage.length}</span>
                </h2>
                <ul>
                  {inStage.map((idea) => (
                    <IdeaCard
                      key={idea.id}
                      idea={idea}
                      open={() => setOpenIdea(idea.id)}
                      moveTo={(to) => moveTo(idea, to)}
                      startDrag={(event) => start(idea, event)}
                    />
                  ))}
                </ul>
                {inStage.length === 0 && <p className="board-empty">{search === '' ? EMPTY[stage] : 'None found.'}</p>}
              </section>
            )
          })}
        </div>
      </div>
      {drag !== undefined && (
        <div className="dragged" style={{ left: drag.x, top: drag.y }} aria-hidden="true">
          {drag.idea.title}
        </div>
      )}
      <DraftDialog isOpen={isDrafting} onClose={() => setIsDrafting(false)} project={project} />
      {open !== undefined && projectData !== undefined && (
        <IdeaDialog key={open.id} idea={open} project={projectData} onClose={() => setOpenIdea(undefined)} />
      )}
    </ProjectFrame>
  )
}

/** While something is dragged, the columns show where it may go. */
function columnClass(stage: Stage, drag: Drag | undefined): string {
  if (drag === undefined || drag.idea.stage === stage) return 'board-column'
  if (drag.over === stage) return 'board-column board-open board-over'
  const moves: readonly Stage[] = movesOf(drag.idea.stage)
  return moves.includes(stage) ? 'board-column board-open' : 'board-column board-shut'
}
