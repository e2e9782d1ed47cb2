import { useQuery } from '@tanstack/react-query'
import { useEffect } from 'react'
import { Link, useNavigate } from 'react-router'
import { executionCan } from '~/api/can'
import { keys } from '~/api/keys'
import { useFollowed } from '~/api/LiveProvider'
import {
  executionQuery,
  ideaQuery,
  sessionQuery,
  transcriptAroundQuery,
  transcriptQuery,
  useOlderItems,
  useWrite,
  writes,
} from '~/api/queries'
import type { Execution, Item, PermissionItem, Session } from '~/api/types'
import { InputAsk, PermissionAsk } from '~/components/Asks'
import { Composer } from '~/components/Composer'
import { AgentName } from '~/components/DemoLabel'
import { OutcomeCard } from '~/components/OutcomeCard'
import { PlanPanel } from '~/components/PlanPanel'
import { StepsStrip } from '~/components/StepsStrip'
import { Transcript } from '~/components/Transcript'
import { newId } from '~/lib/id'
import { activityOf, planOf } from '~/lib/rows'
import { remember } from '~/lib/storage'
import { targetOf } from '~/lib/toolContent'
import { visibleItems } from '~/lib/transcript'
import { ERASED, EXECUTION_STATES, SESSION_STATES } from '~/lib/words'
import { paths } from '~/paths'
import { Badge } from '~/ui/Badge'
import { Button } from '~/ui/Button'
import { Elapsed } from '~/ui/Elapsed'
import { Icon } from '~/ui/Icon'
import { Note, ProblemNote, Waiting } from '~/ui/Notes'

/** A message, and where its item stands in the log. */
export interface MessagePlace {
  message: string
  position: number
}

/** One conversation, live. */
export function SessionView({ session: id, target }: { session: string; target: MessagePlace | undefined }) {
  useFollowed(id)
  const session = useQuery(sessionQuery(id))
  const latest = useQuery(transcriptQuery(id))
  const isReached = target === undefined || (latest.data?.items.some(({ key }) => key === target.message) ?? false)
  const around = useQuery({
    ...transcriptAroundQuery(id, target?.position ?? 0),
    enabled: !isReached && latest.data?.isLoaded === true,
  })
  const transcript = isReached ? latest : around
  const idea = useQuery({ ...ideaQuery(session.data?.idea ?? ''), enabled: Boolean(session.data?.idea) })
  const executionId = session.data?.execution ?? idea.data?.execution ?? ''
  const execution = useQuery({ ...executionQuery(executionId), enabled: executionId !== '' }).data
  const older = useOlderItems(id, isReached ? undefined : target.position)
  useMarkedRead(session.data)

  const error = session.error ?? transcript.error
  if (error !== null && (session.data === undefined || transcript.data === undefined)) {
    return <ProblemNote error={error} retry={() => void Promise.all([session.refetch(), transcript.refetch()])} />
  }
  if (session.data === undefined || transcript.data?.isLoaded !== true) {
    return <Waiting>Loading the conversation</Waiting>
  }
  const items = visibleItems(transcript.data)
  const plan = planOf(items, execution?.requestedAt)
  return (
    <section className="session" aria-label={session.data.title}>
      <SessionHead session={session.data} execution={execution} />
      <div className="session-strips">
        {execution !== undefined && <StepsStrip execution={execution} />}
        {plan !== undefined && <PlanPanel plan={plan} />}
      </div>
      <Transcript
        key={isReached ? `latest ${target?.message ?? ''}` : `around ${target.message}`}
        target={target?.message}
        items={items}
        hasMore={transcript.data.hasMore}
        isLoadingOlder={older.isPending}
        loadOlder={older.mutate}
        footer={
          isReached ? (
            <Footer items={items} execution={execution} />
          ) : (
            <Note icon="clock">
              This is an earlier part of the conversation. <Link to={paths.session(session.data.project, id)}>To the newest</Link>
            </Note>
          )
        }
      />
      <Dock session={session.data} items={items} execution={execution} />
    </section>
  )
}

function SessionHead({ session, execution }: { session: Session; execution: Execution | undefined }) {
  const cancel = useWrite(writes.cancel, [keys.execution(execution?.id ?? '')])
  // An execution whose agent waits for permission still runs; for a person it waits for them.
  const isAsking = session.state === 'needs_input' && execution?.state === 'running'
  const state =
    execution === undefined || isAsking
      ? SESSION_STATES[session.state]
      : EXECUTION_STATES[execution.state]
  return (
    <header className="session-head">
      <div className="session-name">
        <h2>{session.title || ERASED}</h2>
        <p className="session-facts">
          <Badge tone={state.tone}>{state.label}</Badge>
          {execution !== undefined && (
            <>
              <AgentName kind={execution.codingAgent} />
              <Link className="session-branch" to={paths.execution(execution.id)} title="Timeline and changes">
                <Icon name="branch" />
                {execution.branch}
              </Link>
            </>
          )}
        </p>
      </div>
      {execution !== undefined && executionCan(execution, 'cancel') && (
        <Button
          icon="stop"
          blockedBy={cancel.isPending || cancel.isSuccess ? 'The cancel is on its way' : undefined}
          onClick={() => cancel.mutate(execution.id)}
        >
          {cancel.isPending || cancel.isSuccess ? 'Cancelling' : 'Cancel'}
        </Button>
      )}
    </header>
  )
}

/** What stands under the newest item. */
function Footer({ items, execution }: { items: readonly Item[]; execution: Execution | undefined }) {
  if (execution === undefined) return null
  const isAtWork = execution.state === 'running' && execution.step === 'running'
  return (
    <div className="transcript-footer">
      {isAtWork && <Activity items={items} execution={execution} />}
      <OutcomeCard execution={execution} />
    </div>
  )
}

function Activity({ items, execution }: { items: readonly Item[]; execution: Execution }) {
  const call = activityOf(items)
  const last = items.at(-1)
  const since =
    call?.at ?? execution.steps.find(({ step }) => step === 'running')?.startedAt ?? execution.requestedAt
  if (items.some(isOpenPermission)) return null
  const what =
    call !== undefined
      ? targetOf(call)
      : last?.item === 'message' && !last.isComplete && last.author === 'agent'
        ? last.kind === 'thought'
          ? 'Thinking'
          : 'Writing'
        : 'The agent is at work'
  return (
    <p className="activity">
      <span className="spinner" aria-hidden="true" />
      {what}
      <Elapsed from={since} />
    </p>
  )
}

/** What waits for the person: questions first, then the composer. */
function Dock({
  session,
  items,
  execution,
}: {
  session: Session
  items: readonly Item[]
  execution: Execution | undefined
}) {
  const isOver =
    execution !== undefined && ['done', 'failed', 'cancelled'].includes(execution.state)
  const asked = isOver ? [] : items.filter(isOpenPermission)
  return (
    <div className="dock">
      {asked.map((permission) => (
        <PermissionAsk key={permission.key} session={session.id} permission={permission} />
      ))}
      {execution?.state === 'needs_input' && asked.length === 0 && <InputAsk execution={execution} />}
      <FollowUp session={session} execution={execution} />
    </div>
  )
}

function FollowUp({ session, execution }: { session: Session; execution: Execution | undefined }) {
  const navigate = useNavigate()
  const send = useWrite(writes.sendMessage, [
    keys.session(session.id),
    keys.sessions(session.project),
    keys.ideas(session.project),
    keys.items(session.id),
  ])
  const isQueueing = execution !== undefined && executionCan(execution, 'queue')
  if (session.state === 'closed') return <p className="soft">This conversation is closed.</p>
  if (execution !== undefined && !isQueueing && !executionCan(execution, 'follow_up')) return null
  return (
    <Composer
      draftName={`session.${session.id}`}
      label={isQueueing ? 'Follow-up, after this turn' : 'Follow-up'}
      placeholder={
        isQueueing
          ? 'Add something: the agent gets it after this turn'
          : 'Follow up: goes on from here, on the same branch'
      }
      sendLabel={isQueueing ? 'Queue' : 'Send'}
      isSending={send.isPending}
      error={send.error}
      send={async (text) => {
        try {
          const { session: next } = await send.mutateAsync({ session: session.id, message: newId(), text })
          if (next && next !== session.id) await navigate(paths.session(session.project, next))
          return true
        } catch {
          return false // Shown above the composer; the draft stays.
        }
      }}
    />
  )
}

function isOpenPermission(item: Item): item is PermissionItem {
  return item.item === 'permission' && !item.answer
}

function useMarkedRead(session: Session | undefined): void {
  const { id, updatedAt } = session ?? {}
  // What this browser has shown is remembered outside React.
  useEffect(() => {
    if (id !== undefined && updatedAt !== undefined) remember(`read.${id}`, updatedAt)
  }, [id, updatedAt])
}
