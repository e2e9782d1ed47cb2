// Serves the simulated control plane from Vite's own server, in development and in the preview of the built files.
//
// Each sign-in makes a world of its own, named by the cookie, so that tests do not see each other. Tokens that begin
// with `demo` find a past, with `demo-trouble` one that went wrong in places, with `demo-still` one after which time
// stands still, with `empty` none; `used` is refused.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Plugin } from 'vite'
import { type WebSocket, WebSocketServer } from 'ws'
import type { ServerFrame } from '../src/api/types.ts'
import { type Answer, problem } from './answers.ts'
import { answerTo } from './routes.ts'
import { emptyWorld, seededWorld, troubledWorld } from './seed.ts'
import type { World } from './world.ts'

const PACE_MS = Number(process.env['SAM_MOCK_PACE_MS'] ?? 600)
/** Longer than anybody looks. */
const STILL_MS = 3_600_000
const worlds = new Map<string, World>()

export function simulatedControlPlane(): Plugin {
  return {
    name: 'simulated-control-plane',
    configureServer(server) {
      server.middlewares.use((request, response, next) => void serve(request, response, next))
      server.httpServer?.on('upgrade', upgrade)
      server.httpServer?.once('listening', () =>
        server.config.logger.info('  Sign in at /sign-in#demo (with a past) or /sign-in#empty'),
      )
    },
    configurePreviewServer(server) {
      server.middlewares.use((request, response, next) => void serve(request, response, next))
      server.httpServer.on('upgrade', upgrade)
    },
  }
}

/** Takes the cookie away. */
const NO_COOKIE = 'sam=; Path=/; Max-Age=0'

async function serve(request: IncomingMessage, response: ServerResponse, next: () => void): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://simulated')
  if (!url.pathname.startsWith('/api/')) {
    next()
    return
  }
  const body = await bodyOf(request)
  if (url.pathname === '/api/auth/link') {
    signIn(response, body)
    return
  }
  if (url.pathname === '/api/auth/sign-out') {
    response.setHeader('set-cookie', NO_COOKIE)
    send(response, { status: 204 })
    return
  }
  const world = worldOf(request)
  const answer =
    world === undefined
      ? problem(401, 'signed_out', 'Sign in with the link that SAM prints.')
      : answerTo(world, request.method ?? 'GET', url, body)
  if (answer.signsOut === true) response.setHeader('set-cookie', NO_COOKIE)
  send(response, answer)
}

function signIn(response: ServerResponse, body: Record<string, unknown>): void {
  const token = body['token']
  const isKnown = typeof token === 'string' && /^(demo|empty)[\w-]*$/.test(token)
  if (!isKnown) {
    send(response, problem(401, 'link_used_or_unknown', 'This link was used before or is unknown.'))
    return
  }
  if (!worlds.has(token)) {
    worlds.set(token, worldFor(token))
  }
  response.setHeader('set-cookie', `sam=${token}; Path=/; HttpOnly; SameSite=Strict`)
  send(response, { status: 204 })
}

function worldFor(token: string): World {
  if (token.startsWith('empty')) return emptyWorld(PACE_MS)
  if (token.startsWith('demo-trouble')) return troubledWorld(PACE_MS)
  return seededWorld(token.startsWith('demo-still') ? STILL_MS : PACE_MS)
}

function send(response: ServerResponse, { status, body, text, file }: Answer): void {
  response.statusCode = status
  if (file !== undefined) response.setHeader('content-disposition', `attachment; filename="${file}"`)
  if (body !== undefined) {
    response.setHeader('content-type', status >= 400 ? 'application/problem+json' : 'application/json')
    response.end(JSON.stringify(body))
  } else {
    response.setHeader('content-type', 'text/plain; charset=utf-8')
    response.end(text)
  }
}

const sockets = new WebSocketServer({ noServer: true })

function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
  if (!(request.url ?? '').startsWith('/api/live')) return
  const world = worldOf(request)
  if (world === undefined) {
    socket.destroy()
    return
  }
  sockets.handleUpgrade(request, socket, head, (live) => attach(world, live))
}

function attach(world: World, live: WebSocket): void {
  const followed = new Set<string>()
  const tell = (frame: ServerFrame) => live.send(JSON.stringify(frame))
  const listener = (frame: ServerFrame) => {
    const isForAll = frame.type === 'hello' || frame.type === 'changed' || frame.type === 'lagging'
    if (isForAll || followed.has(frame.session)) tell(frame)
  }
  world.listeners.add(listener)
  live.on('close', () => world.listeners.delete(listener))
  live.on('message', (data: Buffer) => {
    const frame = JSON.parse(data.toString('utf8')) as { type: string; session: string }
    if (frame.type === 'unfollow') followed.delete(frame.session)
    if (frame.type !== 'follow') return
    followed.add(frame.session)
    const open = [...world.openTexts].filter(([, { session }]) => session === frame.session)
    tell({
      type: 'open',
      session: frame.session,
      messages: open.map(([message, { kind, chunks }]) => ({ message, kind, firstChunk: 0, nChunks: chunks.length, text: chunks.join('') })),
    })
  })
  tell({ type: 'hello', position: world.position, isResumed: false })
}

function worldOf(request: IncomingMessage): World | undefined {
  const token = /(?:^|;\s*)sam=([\w-]+)/.exec(request.headers.cookie ?? '')?.[1]
  return token === undefined ? undefined : worlds.get(token)
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = ''
  for await (const piece of request) text += String(piece)
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
}
