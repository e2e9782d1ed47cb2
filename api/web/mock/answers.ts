// What the simulated API answers with.

import type { World } from './world.ts'

export interface Answer {
  status: number
  body?: unknown
  text?: string
  /** The text is to be saved under this name. */
  file?: string
  /** The browser's cookie is good for nothing any more. */
  signsOut?: boolean
}

export type Body = Record<string, unknown>
export type Handler = (world: World, ids: string[], body: Body, query: URLSearchParams) => Answer
export type Route = [string, RegExp, Handler]

export function problem(status: number, code: string, detail: string): Answer {
  return { status, body: { type: `https://sam.dev/problems/${code}`, title: code.replaceAll('_', ' '), status, code, detail } }
}

export function text(body: Body, name: string): string {
  const value = body[name]
  return typeof value === 'string' ? value : ''
}

export function ok(body: unknown): Answer {
  return { status: 200, body }
}

export function accepted(position: number, ids: object = {}): Answer {
  return { status: 202, body: { position, ...ids } }
}

export function found(body: unknown): Answer {
  return body === undefined ? gone() : ok(body)
}

export function gone(): Answer {
  return problem(404, 'not_found', 'There is nothing with this id. It may belong to another installation.')
}
