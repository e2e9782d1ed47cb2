import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useLocation, useParams } from 'react-router'
import { projectQuery } from '~/api/queries'
import { NewIdea } from '~/components/NewIdea'
import { ProjectFrame } from '~/components/ProjectFrame'
import { SessionsList } from '~/components/SessionsList'
import { type MessagePlace, SessionView } from '~/components/SessionView'
import { positionIn } from '~/lib/timeline'
import { Button } from '~/ui/Button'
import { Dialog } from '~/ui/Dialog'
import { Waiting } from '~/ui/Notes'

/** A project's main page: its conversations, and the open one. */
export function ProjectChatPage() {
  const { project = '', session } = useParams()
  const { data } = useQuery(projectQuery(project))
  const target = placeIn(new URLSearchParams(useLocation().search))
  return (
    <ProjectFrame project={project}>
      <div className="chat">
        <aside className="chat-side" aria-label="Conversations">
          <SessionsList project={project} />
        </aside>
        <div className="chat-main">
          <SessionsDrawer key={useLocation().key} project={project} />
          {session !== undefined && <SessionView key={session} session={session} target={target} />}
          {session === undefined && data === undefined && <Waiting>Loading the project</Waiting>}
          {session === undefined && data !== undefined && <NewIdea key={project} project={data} />}
        </div>
      </div>
    </ProjectFrame>
  )
}

/** The list of conversations where there is no room beside the open one. */
function SessionsDrawer({ project }: { project: string }) {
  const [isOpen, setIsOpen] = useState(false)
  return (
    <div className="chat-drawer">
      <Button look="quiet" icon="menu" onClick={() => setIsOpen(true)}>
        Conversations
      </Button>
      <Dialog isOpen={isOpen} onClose={() => setIsOpen(false)} title="Conversations" side="left">
        <SessionsList project={project} />
      </Dialog>
    </div>
  )
}

/** The message that the address leads to. */
function placeIn(search: URLSearchParams): MessagePlace | undefined {
  const [message, position] = [search.get('message'), positionIn(search.get('at'))]
  return message === null || position === undefined ? undefined : { message, position }
}
