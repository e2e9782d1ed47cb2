// Talks to the browser API over HTTP.
//
// Reads wait for the page's own writes: the log position of the newest write goes along as `after` until the live
// feed has passed it, so nobody sees a list without what they have just added. Writes are repeated after a lost
// connection, which is safe because their ids were chosen here.

import type { Accepted, Problem } from '~/api/types'

const WRITE_ATTEMPTS_MAX = 4
const RETRY_PERIOD_MS = 700

/** An answer that is not a success; `message` says what to do. */
export class ProblemError extends Error {
  readonly problem: Problem
  readonly retryAfterSeconds: number | undefined

  constructor(problem: Problem, retryAfterSeconds?: number) {
    super(problem.detail || problem.title)
    this.name = 'ProblemError'
    this.problem = problem
    this.retryAfterSeconds = retryAfterSeconds
  }

  get isTransient(): boolean {
    return this.problem.status === 0 || this.problem.status === 503
  }
}

let writtenUntil = 0
let seenUntil = 0

/** The live feed has come to this position: reads need not wait for anything before it. */
export function noteSeen(position: number): void {
  seenUntil = Math.max(seenUntil, position)
}

export async function read<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await request(afterOwnWrites(path), signal === undefined ? {} : { signal })
  return decoded<T>(await response.text())
}

/** Reads a text document; undefined when there is none. */
export async function readText(path: string, signal?: AbortSignal): Promise<string | undefined> {
  try {
    const response = await request(afterOwnWrites(path), signal === undefined ? {} : { signal })
    return await response.text()
  } catch (error) {
    if (error instanceof ProblemError && error.problem.status === 404) return undefined
    throw error
  }
}

/** Sends a write and answers once it is in the log. */
export async function write<T extends Partial<Accepted> = Accepted>(
  method: 'POST' | 'PUT' | 'PATCH' | 'DELETE',
  path: string,
  body?: unknown,
): Promise<T> {
  const text = body === undefined ? {} : { body: JSON.stringify(body) }
  for (let attempt = 1; ; attempt += 1) {
    try {
      const response = await request(path, {
        method,
        headers: { 'content-type': 'application/json' },
        ...text,
      })
      const answer = await response.text()
      const accepted = decoded<T>(answer === '' ? '{}' : answer)
      writtenUntil = Math.max(writtenUntil, accepted.position ?? 0)
      return accepted
    } catch (error) {
      const isTransient = error instanceof ProblemError && error.isTransient
      if (!isTransient || attempt === WRITE_ATTEMPTS_MAX) throw error
      await pause((error.retryAfterSeconds ?? attempt) * RETRY_PERIOD_MS)
    }
  }
}

function afterOwnWrites(path: string): string {
  if (writtenUntil <= seenUntil) return path
  return `${path}${path.includes('?') ? '&' : '?'}after=${writtenUntil}`
}

async function request(path: string, init: RequestInit): Promise<Response> {
  const response = await fetch(path, { credentials: 'same-origin', ...init }).catch(
    (error: unknown) => {
      if (error instanceof DOMException && error.name === 'AbortError') throw error
      throw new ProblemError(UNREACHABLE)
    },
  )
  if (response.ok) return response
  const retryAfter = Number(response.headers.get('retry-after') ?? Number.NaN)
  throw new ProblemError(
    problemOf(response.status, await response.text()),
    Number.isFinite(retryAfter) ? retryAfter : undefined,
  )
}

const UNREACHABLE: Problem = {
  type: 'about:blank',
  title: 'SAM does not answer',
  status: 0,
  detail: 'SAM does not answer. Check that it is still running; this page goes on by itself when it is back.',
  code: 'unreachable',
}

function problemOf(status: number, text: string): Problem {
  const fallback: Problem = {
    type: 'about:blank',
    title: `The server answered ${status}`,
    status,
    detail: `The server answered ${status} without saying why. Its log has the details.`,
    code: 'unknown',
  }
  try {
    return { ...fallback, ...decoded<Partial<Problem>>(text) }
  } catch {
    return fallback
  }
}

/** The one place where bytes become a type: the server's answers are described by its OpenAPI document. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller names what the address answers
function decoded<T>(text: string): T {
  // eslint-disable-next-line @typescript-eslint/no-unsafe-assignment -- parsed here and nowhere else
  const value: T = JSON.parse(text)
  return value
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
