// One WebSocket that keeps the query cache up to date.
//
// A frame says what changed (its queries are read again) or carries a piece of the open conversation (merged into
// the cache). After a broken connection the feed resumes behind the last position it saw; what it may have missed
// of followed conversations is read again, and merging makes repeats harmless. Where the server closes it because
// the sign-in has ended, it does not come back before somebody is signed in.

import type { QueryClient } from '@tanstack/react-query'
import { noteSeen } from '~/api/client'
import { changedKeys, keys } from '~/api/keys'
import { isSignedOut } from '~/api/queries'
import type { ClientFrame, ServerFrame } from '~/api/types'
import {
  EMPTY_TRANSCRIPT,
  type Transcript,
  withChunk,
  withItems,
  withOpenMessages,
} from '~/lib/transcript'

export type LiveState = 'connecting' | 'live' | 'reconnecting'

type TranscriptFrame = Extract<ServerFrame, { type: 'item' | 'chunk' | 'open' }>

const FLUSH_PERIOD_MS = 30
const BACKOFF_MS_MIN = 400
const BACKOFF_MS_MAX = 8_000
/** The code with which the server closes a feed whose sign-in has ended. */
const SIGNED_OUT = 4401

export class LiveFeed {
  #state: LiveState = 'connecting'
  #position: number | undefined
  #socket: WebSocket | undefined
  #attempts = 0
  #isStopped = true
  #retry: ReturnType<typeof setTimeout> | undefined
  #flush: ReturnType<typeof setTimeout> | undefined
  #frames: TranscriptFrame[] = []
  #stale = new Map<string, readonly unknown[]>()
  readonly #followed = new Map<string, number>()
  readonly #listeners = new Set<() => void>()
  readonly #cache: QueryClient
  readonly #address: () => string

  /** `address` is asked at each connection for where the feed is, without its query. */
  constructor(cache: QueryClient, address: () => string) {
    this.#cache = cache
    this.#address = address
  }

  get state(): LiveState {
    return this.#state
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  start(): void {
    if (!this.#isStopped) return
    this.#isStopped = false
    window.addEventListener('online', this.#retryNow)
    document.addEventListener('visibilitychange', this.#retryNow)
    this.#connect()
  }

  stop(): void {
    this.#isStopped = true
    window.removeEventListener('online', this.#retryNow)
    document.removeEventListener('visibilitychange', this.#retryNow)
    clearTimeout(this.#retry)
    clearTimeout(this.#flush)
    this.#flush = undefined
    this.#socket?.close()
    this.#socket = undefined
  }

  /** Streams a conversation until the returned function is called. */
  follow(session: string): () => void {
    const n = this.#followed.get(session) ?? 0
    this.#followed.set(session, n + 1)
    if (n === 0) this.#send({ type: 'follow', session })
    return () => {
      const left = (this.#followed.get(session) ?? 1) - 1
      if (left > 0) {
        this.#followed.set(session, left)
        return
      }
      this.#followed.delete(session)
      this.#send({ type: 'unfollow', session })
    }
  }

  #connect(): void {
    clearTimeout(this.#retry)
    const query = this.#position === undefined ? '' : `?after=${this.#position}`
    const socket = new WebSocket(`${this.#address()}${query}`)
    this.#socket = socket
    socket.onmessage = (message: MessageEvent<string>) => {
      if (this.#socket === socket) this.#receive(frameOf(message.data))
    }
    socket.onclose = ({ code }) => {
      if (this.#socket !== socket) return
      this.#socket = undefined
      if (code === SIGNED_OUT) void this.#reconnectIfSignedIn()
      else this.#reconnectLater()
    }
  }

  /** Another tab may have signed in anew since. Otherwise the page learns here that nobody is signed in, and leaves. */
  async #reconnectIfSignedIn(): Promise<void> {
    const queryKey = keys.signedIn()
    await this.#cache.refetchQueries({ queryKey })
    if (isSignedOut(this.#cache.getQueryState(queryKey)?.error)) return
    if (this.#socket === undefined) this.#reconnectLater()
  }

  #reconnectLater(): void {
    if (this.#isStopped) return
    this.#become('reconnecting')
    // Whoever was signed out in the meantime learns it from this read, not from a socket that never opens.
    if (this.#attempts > 0) void this.#cache.invalidateQueries({ queryKey: keys.signedIn() })
    const period = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** this.#attempts)
    this.#attempts += 1
    this.#retry = setTimeout(() => this.#connect(), period * (0.5 + Math.random() / 2))
  }

  readonly #retryNow = (): void => {
    if (this.#isStopped || this.#socket !== undefined || document.hidden) return
    this.#connect()
  }

  #receive(frame: ServerFrame): void {
    switch (frame.type) {
      case 'hello':
        this.#welcome(frame.position)
        return
      case 'changed':
        this.#advance(frame.position)
        for (const key of changedKeys(frame)) this.#stale.set(JSON.stringify(key), key)
        break
      case 'item':
        this.#advance(frame.position)
        this.#frames.push(frame)
        break
      case 'chunk':
        this.#frames.push(frame)
        break
      case 'open':
        this.#frames.push(frame)
        // From here on nothing of this conversation is missed, and only from here on: a page that was read
        // earlier may end before it.
        this.#stale.set(`items ${frame.session}`, keys.items(frame.session))
        break
      case 'lagging':
        this.#socket?.close()
        return
    }
    this.#flush ??= setTimeout(() => this.#applyAll(), FLUSH_PERIOD_MS)
  }

  #welcome(position: number): void {
    // A log that is shorter than before is another log: nothing remembered holds.
    if (position < (this.#position ?? 0)) this.#position = position
    this.#position ??= position
    this.#attempts = 0
    this.#become('live')
    for (const session of this.#followed.keys()) this.#send({ type: 'follow', session })
    // What was read before may have changed before anybody would have told us: a page reads and connects at once,
    // and nothing says which of the two the server saw first.
    void this.#cache.invalidateQueries()
  }

  #advance(position: number): void {
    this.#position = Math.max(this.#position ?? 0, position)
    noteSeen(position)
  }

  #applyAll(): void {
    this.#flush = undefined
    const frames = this.#frames
    const stale = [...this.#stale.values()]
    this.#frames = []
    this.#stale = new Map()
    for (const [session, own] of Map.groupBy(frames, (frame) => frame.session)) {
      this.#cache.setQueryData<Transcript>(keys.items(session), (known) =>
        own.reduce(withFrame, known ?? EMPTY_TRANSCRIPT),
      )
    }
    for (const queryKey of stale) void this.#cache.invalidateQueries({ queryKey })
  }

  #send(frame: ClientFrame): void {
    if (this.#state === 'live') this.#socket?.send(JSON.stringify(frame))
  }

  #become(state: LiveState): void {
    this.#state = state
    for (const listener of this.#listeners) listener()
  }
}

function withFrame(transcript: Transcript, frame: TranscriptFrame): Transcript {
  switch (frame.type) {
    case 'item':
      return withItems(transcript, [frame.item], frame.position)
    case 'chunk':
      return withChunk(transcript, frame.message, frame.kind, frame.chunk, frame.text)
    case 'open':
      return withOpenMessages(transcript, frame.messages)
  }
}

function frameOf(text: string): ServerFrame {
  // eslint-disable-next-line @typescript-eslint/no-unsafe-assignment -- the server's frames are described with its API
  const frame: ServerFrame = JSON.parse(text)
  return frame
}
