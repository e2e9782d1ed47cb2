import { describe, expect, test } from 'vitest'
import type { Item, ItemPage, MessageItem } from '~/api/types'
import {
  EMPTY_TRANSCRIPT,
  type Transcript,
  visibleItems,
  withChunk,
  withItems,
  withLatestPage,
  withOlderPage,
  withOpenMessages,
} from '~/lib/transcript'

const CHUNKS = ['Hel', 'lo ', 'wor', 'ld', ', ', 'aa', 'aa', 'a', '!', '\n', 'end']
const WHOLE = CHUNKS.join('')

describe('streamed text', () => {
  test('is complete and in order whatever the order, the repeats and the cuts', () => {
    for (let seed = 1; seed <= 500; seed += 1) {
      const random = randomFrom(seed)
      const frames = shuffled(everyFrame(random), random)
      const twice = [...frames, ...frames.filter(() => random() < 0.3)]
      const transcript = twice.reduce((known, frame) => frame(known), EMPTY_TRANSCRIPT)
      expect(textsOf(transcript), `seed ${seed}`).toEqual([WHOLE])
    }
  })

  test('never shows a hole: what is visible is always a beginning of the message', () => {
    for (let seed = 1; seed <= 500; seed += 1) {
      const random = randomFrom(seed)
      let transcript = EMPTY_TRANSCRIPT
      for (const frame of shuffled(everyFrame(random), random)) {
        transcript = frame(transcript)
        for (const text of textsOf(transcript)) expect(WHOLE.startsWith(text), `seed ${seed}: ${text}`).toBe(true)
      }
    }
  })

  test('shows each chunk at once when they come in order', () => {
    let transcript = EMPTY_TRANSCRIPT
    for (const [index, text] of CHUNKS.entries()) {
      transcript = withChunk(transcript, 'm', 'answer', index, text)
      expect(textsOf(transcript)).toEqual([CHUNKS.slice(0, index + 1).join('')])
    }
  })

  test('goes on from a snapshot of what is not in the log yet', () => {
    const logged = withItems(EMPTY_TRANSCRIPT, [message(4, false)], 10)
    const tail = withOpenMessages(logged, [
      { message: 'm', kind: 'answer', firstChunk: 4, nChunks: 6, text: CHUNKS.slice(4, 6).join('') },
    ])
    expect(textsOf(withChunk(tail, 'm', 'answer', 6, CHUNKS[6] ?? ''))).toEqual([CHUNKS.slice(0, 7).join('')])
  })

  test('is quick for a message of many chunks', () => {
    let transcript = EMPTY_TRANSCRIPT
    const n = 5_000
    for (let index = 0; index < n; index += 1) transcript = withChunk(transcript, 'm', 'answer', index, `${index} `)
    expect(transcript.tails['m']?.spans).toHaveLength(1)
    expect(textsOf(transcript)[0]?.split(' ')).toHaveLength(n + 1)
  })

  test('goes on where the log cuts into what was streamed', () => {
    let transcript = withItems(EMPTY_TRANSCRIPT, [message(2, false)], 10)
    for (const index of [3, 4, 5, 6]) transcript = withChunk(transcript, 'm', 'answer', index, CHUNKS[index] ?? '')
    expect(textsOf(transcript)).toEqual([CHUNKS.slice(0, 2).join('')])
    const more = withItems(transcript, [message(5, false)], 11)
    expect(textsOf(more)).toEqual([CHUNKS.slice(0, 7).join('')])
  })

  test('ignores chunks after the message is complete', () => {
    const complete = withItems(EMPTY_TRANSCRIPT, [message(CHUNKS.length, true)], 10)
    expect(withChunk(complete, 'm', 'answer', 99, 'late')).toBe(complete)
  })
})

describe('items', () => {
  test('an older version never replaces a newer one', () => {
    const newer = withItems(EMPTY_TRANSCRIPT, [notice('a', 1, 'new')], 20)
    expect(withItems(newer, [notice('a', 1, 'old')], 10)).toBe(newer)
  })

  test('keep the order of the log when pages and frames mix', () => {
    const live = withItems(EMPTY_TRANSCRIPT, [notice('d', 4), notice('c', 3)], 6)
    const withPage = withLatestPage(live, page([notice('b', 2), notice('c', 3)], true))
    const all = withOlderPage(withPage, page([notice('a', 1)], false))
    expect(all.items.map(({ key }) => key)).toEqual(['a', 'b', 'c', 'd'])
    expect(all.hasMore).toBe(false)
  })

  test('a page that does not reach what is known leaves no hole', () => {
    const before = withLatestPage(EMPTY_TRANSCRIPT, page([notice('a', 1), notice('b', 2)], false))
    const after = withLatestPage(before, page([notice('x', 90), notice('y', 91)], true, 95))
    expect(after.items.map(({ key }) => key)).toEqual(['x', 'y'])
    expect(after.hasMore).toBe(true)
  })

  test('a repeated newest page changes nothing about what is above', () => {
    const first = withLatestPage(EMPTY_TRANSCRIPT, page([notice('b', 2)], true))
    const older = withOlderPage(first, page([notice('a', 1)], false))
    const again = withLatestPage(older, page([notice('b', 2)], true))
    expect(again.items).toHaveLength(2)
    expect(again.hasMore).toBe(false)
  })
})

type Frame = (transcript: Transcript) => Transcript

/** Each chunk, the log's segments, and a snapshot from the start, as a server might send them. */
function everyFrame(random: () => number): Frame[] {
  const chunks = CHUNKS.map(
    (text, index): Frame => (known) => withChunk(known, 'm', 'answer', index, text),
  )
  const cut = 1 + Math.floor(random() * (CHUNKS.length - 1))
  const snapshot: Frame = (known) =>
    withOpenMessages(known, [{ message: 'm', kind: 'answer', firstChunk: 0, nChunks: cut, text: CHUNKS.slice(0, cut).join('') }])
  const nLogged = Math.floor(random() * CHUNKS.length)
  const logged: Frame = (known) => withItems(known, [message(nLogged, false)], 10 + nLogged)
  return [...chunks, snapshot, ...(nLogged > 0 ? [logged] : [])]
}

function message(nChunks: number, isComplete: boolean): MessageItem {
  const text = CHUNKS.slice(0, nChunks).join('')
  return {
    item: 'message', key: 'm', position: 1, at: '2026-01-01T00:00:00Z', author: 'agent', kind: 'answer',
    text, nChunks, isComplete, isTruncated: false, isQueued: false,
  }
}

function notice(key: string, position: number, text = key): Item {
  return { item: 'notice', key, position, at: '2026-01-01T00:00:00Z', text }
}

function page(items: Item[], hasMore: boolean, position = 5): ItemPage {
  return { items, hasMore, position }
}

function textsOf(transcript: Transcript): string[] {
  return visibleItems(transcript).flatMap((item) => (item.item === 'message' ? [item.text] : []))
}

function randomFrom(seed: number): () => number {
  let state = seed * 2_654_435_761
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 2_246_822_519) + 0x9e37_79b9) | 0
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32
  }
}

function shuffled<T>(entries: readonly T[], random: () => number): T[] {
  return entries
    .map((entry) => ({ entry, order: random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ entry }) => entry)
}
