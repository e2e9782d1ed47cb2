import { memo, useDeferredValue } from 'react'
import type { Item, MessageItem, PermissionItem, TurnEndItem } from '~/api/types'
import { ReadsCard, ToolCallCard } from '~/components/ToolCallCard'
import type { Row } from '~/lib/rows'
import { ERASED } from '~/lib/words'
import { Ago } from '~/ui/Elapsed'
import { Icon } from '~/ui/Icon'
import { Markdown } from '~/ui/Markdown'

/** One row of a conversation. */
export const TranscriptRow = memo(function TranscriptRow({ row }: { row: Row }) {
  if (row.row === 'reads') return <ReadsCard calls={row.calls} />
  const { item } = row
  switch (item.item) {
    case 'message':
      return <Message message={item} />
    case 'tool_call':
      return <ToolCallCard call={item} />
    case 'permission':
      return <PermissionRecord permission={item} />
    case 'turn_end':
      return <TurnEnd end={item} />
    case 'notice':
      return (
        <p className="notice-row">
          <Icon name="dot" />
          {item.text}
        </p>
      )
  }
})

function Message({ message }: { message: MessageItem }) {
  if (message.author === 'person') return <PersonMessage message={message} />
  if (message.kind === 'thought') return <Thought message={message} />
  return <Answer message={message} />
}

function Answer({ message }: { message: MessageItem }) {
  // A long text takes a while to lay out: while it streams, typing and scrolling go first.
  const text = useDeferredValue(message.text)
  return (
    <article className="message" aria-label="Answer" aria-busy={!message.isComplete}>
      <Markdown text={text} />
      <Truncation message={message} />
    </article>
  )
}

function PersonMessage({ message }: { message: MessageItem }) {
  return (
    <article className="message message-person" aria-label="You wrote">
      {message.text === '' ? <p className="erased">{ERASED}</p> : <p className="person-text">{message.text}</p>}
      <p className="message-meta">
        {message.isQueued ? (
          <span className="queued">
            <Icon name="clock" />
            Queued: the agent gets it after this turn
          </span>
        ) : (
          <Ago at={message.at} />
        )}
      </p>
    </article>
  )
}

function Thought({ message }: { message: MessageItem }) {
  return (
    <details className="thought">
      <summary data-nav>
        <Icon name="chevron" className="twist" />
        <Icon name="think" />
        <span>{message.isComplete ? 'Thought' : 'Thinking'}</span>
        <span className="thought-start soft">{firstLine(message.text)}</span>
      </summary>
      <Markdown text={message.text} />
      <Truncation message={message} />
    </details>
  )
}

function Truncation({ message }: { message: MessageItem }) {
  if (!message.isTruncated) return null
  return (
    <p className="notice-row">
      <Icon name="hand" />
      The rest of this message was lost with its node.
    </p>
  )
}

function PermissionRecord({ permission }: { permission: PermissionItem }) {
  const { answer } = permission
  return (
    <p className="notice-row">
      <Icon name="shield" />
      <span>
        {permission.title}:{' '}
        {answer ? (
          <>
            <strong>{answer.name}</strong>
            <span className="soft"> ({BY[answer.by]})</span>
          </>
        ) : (
          <strong>waits for an answer</strong>
        )}
      </span>
    </p>
  )
}

const BY = {
  policy: "by the project's setting",
  person: 'by you',
  nobody: 'nobody answered',
} satisfies Record<NonNullable<PermissionItem['answer']>['by'], string>

function TurnEnd({ end }: { end: TurnEndItem }) {
  if (end.end === 'stopped' && end.reason === 'end_turn') return <hr className="turn-end" />
  return (
    <p className="notice-row notice-bad">
      <Icon name="hand" />
      <span>
        {TURN_ENDS[end.end]}
        {end.reason !== '' && `: ${end.reason}`}
      </span>
    </p>
  )
}

const TURN_ENDS = {
  stopped: 'The agent stopped',
  failed: 'The agent reported an error',
  broken: 'The agent broke off',
  lost: 'The connection to the agent was lost',
} satisfies Record<TurnEndItem['end'], string>

function firstLine(text: string): string {
  return text.trimStart().split('\n', 1)[0] ?? ''
}

/** What a screen reader is told about a new item; nothing for what it need not hear at once. */
export function announcementOf(item: Item): string {
  switch (item.item) {
    case 'message':
      return item.author === 'agent' && item.kind === 'answer' && item.isComplete
        ? `Answer: ${item.text.slice(0, 300)}`
        : ''
    case 'permission':
      return item.answer ? '' : `Permission needed: ${item.title}`
    case 'turn_end':
      return item.end === 'stopped' ? 'The agent ended its turn' : TURN_ENDS[item.end]
    case 'notice':
      return item.text
    case 'plan':
    case 'tool_call':
      return ''
  }
}
