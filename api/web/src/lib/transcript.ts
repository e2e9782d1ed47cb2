// A conversation as the browser holds it: what the log says, and the text that runs ahead of it.
//
// Pages of the log and live frames arrive in any order and more than once. Two rules make the result the same
// whatever the order: an item replaces an older version of itself only, and a chunk of text is used once, at its number.
//
// Invariant: `items` is ordered by position and has each key once.

import type { Item, ItemPage, MessageItem, OpenMessage, TextKind } from '~/api/types'

/** The text of chunks `first..end` of one message. */
interface Span {
  first: number
  end: number
  text: string
  /** Where in the text each chunk begins, so that it can be cut there; undefined inside of a snapshot. */
  starts: readonly (number | undefined)[]
}

interface Tail {
  kind: TextKind
  spans: Span[]
}

export interface Transcript {
  items: Item[]
  /** Up to which position of the log each item is known. */
  versions: Readonly<Record<string, number>>
  /** Text not yet in the log, by message. */
  tails: Readonly<Record<string, Tail>>
  hasMore: boolean
  /** False until the first page is here: live frames may come before it. */
  isLoaded: boolean
}

export const EMPTY_TRANSCRIPT: Transcript = {
  items: [],
  versions: {},
  tails: {},
  hasMore: true,
  isLoaded: false,
}

/** Behind everything that has a position. */
export const NOT_YET_LOGGED = Number.MAX_SAFE_INTEGER

/** Takes in the newest page, on first load and after a reconnect. */
export function withLatestPage(transcript: Transcript, page: ItemPage): Transcript {
  const oldest = page.items[0]
  const isConnected =
    !page.hasMore ||
    (oldest !== undefined && transcript.items.some((item) => item.key === oldest.key))
  // Too much happened while nobody listened: rather than a hole in the middle, keep what is newer and
  // let older pages be fetched again when somebody scrolls there.
  const kept = isConnected
    ? transcript
    : withoutItems(transcript, (item) => (transcript.versions[item.key] ?? 0) <= page.position)
  const hasMore = isConnected && transcript.isLoaded ? transcript.hasMore : page.hasMore
  return { ...withItems(kept, page.items, page.position), hasMore, isLoaded: true }
}

/** Takes in a page from further back. */
export function withOlderPage(transcript: Transcript, page: ItemPage): Transcript {
  return { ...withItems(transcript, page.items, page.position), hasMore: page.hasMore }
}

/** Takes in items as they were at `version`. */
export function withItems(
  transcript: Transcript,
  incoming: readonly Item[],
  version: number,
): Transcript {
  const fresh = incoming.filter((item) => version >= (transcript.versions[item.key] ?? -1))
  if (fresh.length === 0) return transcript
  const byKey = new Map(transcript.items.map((item) => [item.key, item]))
  const versions = { ...transcript.versions }
  let tails = transcript.tails
  for (const item of fresh) {
    byKey.set(item.key, item)
    versions[item.key] = version
    if (item.item === 'message') tails = prunedTails(tails, item)
  }
  const items = [...byKey.values()].sort((a, b) => a.position - b.position)
  return { ...transcript, items, versions, tails }
}

/** Takes in one chunk of streamed text. */
export function withChunk(
  transcript: Transcript,
  message: string,
  kind: TextKind,
  chunk: number,
  text: string,
): Transcript {
  return withSpan(transcript, message, kind, spanOf(chunk, chunk + 1, text))
}

/** Takes in what the server holds of unfinished messages. */
export function withOpenMessages(
  transcript: Transcript,
  messages: readonly OpenMessage[],
): Transcript {
  return messages.reduce(
    (merged, { message, kind, firstChunk, nChunks, text }) =>
      withSpan(merged, message, kind, spanOf(firstChunk, nChunks, text)),
    transcript,
  )
}

/** What a person sees: the log's items, with the newest text, then messages that are not in the log yet. */
export function visibleItems(transcript: Transcript): Item[] {
  const logged = new Set<string>()
  const items = transcript.items.map((item) => {
    logged.add(item.key)
    const tail = transcript.tails[item.key]
    return item.item === 'message' && tail !== undefined ? withTail(item, tail) : item
  })
  for (const [key, tail] of Object.entries(transcript.tails)) {
    if (logged.has(key)) continue
    const message = withTail(unloggedMessage(key, tail.kind), tail)
    if (message.nChunks > 0) items.push(message)
  }
  return items
}

/** Where the next older page ends. */
export function oldestPosition(transcript: Transcript): number | undefined {
  return transcript.items[0]?.position
}

function withSpan(transcript: Transcript, key: string, kind: TextKind, span: Span): Transcript {
  const item = transcript.items.find((candidate) => candidate.key === key)
  if (item?.item === 'message' && (item.isComplete || span.end <= item.nChunks)) return transcript
  const spans = transcript.tails[key]?.spans ?? []
  if (spans.some((known) => known.first <= span.first && span.end <= known.end)) return transcript
  const before = spans.find((known) => known.end === span.first)
  const grown = before === undefined ? span : joined(before, span)
  const kept = spans.filter((known) => known.first < grown.first || grown.end < known.end)
  return { ...transcript, tails: { ...transcript.tails, [key]: { kind, spans: [...kept, grown] } } }
}

function spanOf(first: number, end: number, text: string): Span {
  return { first, end, text, starts: [0, ...Array.from({ length: end - first - 1 }, () => undefined)] }
}

function joined(left: Span, right: Span): Span {
  const moved = right.starts.map((start) => (start === undefined ? start : start + left.text.length))
  return {
    first: left.first,
    end: right.end,
    text: left.text + right.text,
    starts: [...left.starts, ...moved],
  }
}

function withTail(item: MessageItem, tail: Tail): MessageItem {
  let { nChunks, text } = item
  for (;;) {
    const known = nChunks
    const further = tail.spans.filter((span) => span.first <= known && known < span.end)
    const whole = further.find((span) => span.first === 0)
    const next = further.find((span) => span.starts[known - span.first] !== undefined)
    if (next !== undefined) {
      text += next.text.slice(next.starts[known - next.first])
      nChunks = next.end
    } else if (whole !== undefined) {
      text = whole.text
      nChunks = whole.end
    } else {
      // Nothing fits on, or only a snapshot that cannot be cut where the known text ends: that waits for the log.
      return { ...item, nChunks, text }
    }
  }
}

function prunedTails(tails: Transcript['tails'], item: MessageItem): Transcript['tails'] {
  const tail = tails[item.key]
  if (tail === undefined) return tails
  const spans = item.isComplete ? [] : tail.spans.filter((span) => span.end > item.nChunks)
  const { [item.key]: _, ...others } = tails
  return spans.length === 0 ? others : { ...others, [item.key]: { ...tail, spans } }
}

function withoutItems(transcript: Transcript, isDropped: (item: Item) => boolean): Transcript {
  const items = transcript.items.filter((item) => !isDropped(item))
  const kept = new Set(items.map((item) => item.key))
  const versions = Object.fromEntries(
    Object.entries(transcript.versions).filter(([key]) => kept.has(key)),
  )
  return { ...transcript, items, versions }
}

function unloggedMessage(key: string, kind: TextKind): MessageItem {
  return {
    item: 'message',
    key,
    position: NOT_YET_LOGGED,
    at: '',
    author: 'agent',
    kind,
    text: '',
    nChunks: 0,
    isComplete: false,
    isTruncated: false,
    isQueued: false,
  }
}
