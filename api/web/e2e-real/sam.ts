// The real `sam serve`, with a data directory, a port and containers of its own.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const BINARY =
  process.env['SAM_BINARY'] ?? fileURLToPath(new URL('../../../target/debug/sam', import.meta.url))
const STARTS_WITHIN_MS = 120_000
const ENDS_WITHIN_MS = 60_000

export class Sam {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'sam-ui-'))
  readonly #port: number
  #process: ChildProcess | undefined
  #installation: string | undefined
  #said = ''
  /** Signs one browser in. */
  link = ''

  private constructor(port: number) {
    this.#port = port
  }

  static async start(): Promise<Sam> {
    const sam = new Sam(await freePort())
    await sam.resume()
    return sam
  }

  get origin(): string {
    return `http://app.sam.localhost:${this.#port}`
  }

  get #dataDir(): string {
    return path.join(this.folder, 'data')
  }

  /** Starts the program, and waits until it has printed its link. */
  async resume(): Promise<void> {
    const words = ['serve', '--data-dir', this.#dataDir, '--listen', `127.0.0.1:${this.#port}`]
    const child = spawn(BINARY, words, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#process = child
    child.stderr.on('data', (bytes: Buffer) => (this.#said += bytes.toString()))
    const link = new Promise<string>((resolve, reject) => {
      createInterface(child.stdout).on('line', (line) => {
        this.#said += `${line}\n`
        const found = /^Sign in .*: (http\S+)$/.exec(line)?.[1]
        if (found !== undefined) resolve(found)
      })
      child.once('error', reject)
      child.once('exit', (code, signal) => {
        reject(new Error(`sam ended at once (${code ?? signal ?? ''}):\n${this.#said}`))
      })
    })
    this.link = await within(STARTS_WITHIN_MS, 'sam prints no link', link)
  }

  /** Ends it as a power cut would, or as its owner. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.kill(signal)
    await within(ENDS_WITHIN_MS, 'sam does not end', ended)
  }

  /** Everything it has printed, for the report of a failed test. */
  get said(): string {
    return this.#said
  }

  /** Tells under which label its containers are found. */
  belongsTo(installation: string): void {
    this.#installation = installation
  }

  /** Takes the newest workspace's container away, as a crash of the machine would. */
  killNewestContainer(): void {
    const filter = `label=sam.installation=${this.#installation ?? ''}`
    const [newest] = execFileSync('docker', ['ps', '-q', '--filter', filter], { encoding: 'utf8' }).split('\n')
    if (newest === undefined || newest === '') throw new Error('no container of this SAM runs')
    execFileSync('docker', ['kill', newest], { stdio: 'ignore' })
  }

  /** Ends it and removes everything it made on this machine. */
  async remove(): Promise<void> {
    await this.end('SIGTERM').catch(() => this.end('SIGKILL'))
    for (const id of processesNaming(this.folder)) process.kill(id, 'SIGKILL')
    if (this.#installation !== undefined) {
      const filter = `label=sam.installation=${this.#installation}`
      removeAll(['ps', '-aq', '--filter', filter], ['rm', '-f'])
      removeAll(['volume', 'ls', '-q', '--filter', filter], ['volume', 'rm', '-f'])
    }
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** A bare repository with one commit, to be linked and pushed to. */
export class Repository {
  readonly path: string

  constructor(folder: string, name: string) {
    this.path = path.join(folder, `${name}.git`)
    const work = path.join(folder, `${name}-work`)
    mkdirSync(work)
    writeFileSync(path.join(work, 'README.md'), '# Thing\n\nA repository to try SAM on.\n')
    git('init', '--quiet', '--bare', '--initial-branch=main', this.path)
    git('init', '--quiet', '--initial-branch=main', work)
    const author = ['-c', 'user.name=Ada', '-c', 'user.email=ada@example.org']
    git('-C', work, 'add', '.')
    git('-C', work, ...author, 'commit', '--quiet', '--message=Begin')
    git('-C', work, 'push', '--quiet', this.path, 'main')
    rmSync(work, { recursive: true })
  }

  branches(): string[] {
    return git('-C', this.path, 'branch', '--format=%(refname:short)').split('\n').filter(Boolean)
  }

  /** A file as it is on a branch. */
  file(branch: string, name: string): string {
    return git('-C', this.path, 'show', `${branch}:${name}`)
  }
}

function git(...words: string[]): string {
  return execFileSync('git', words, { encoding: 'utf8' })
}

function removeAll(list: string[], remove: string[]): void {
  const ids = execFileSync('docker', list, { encoding: 'utf8' }).split('\n').filter(Boolean)
  if (ids.length > 0) execFileSync('docker', [...remove, ...ids], { stdio: 'ignore' })
}

/** Processes that were started for a folder: the node's agent outlives the server on purpose. */
function processesNaming(folder: string): number[] {
  const ids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return ids.map(Number).filter((id) => {
    try {
      return id !== process.pid && readFileSync(`/proc/${id}/cmdline`, 'utf8').includes(folder)
    } catch {
      return false // It has ended meanwhile.
    }
  })
}

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = address !== null && typeof address !== 'string' ? address.port : 0
      server.close(() => resolve(port))
    })
  })
}

async function within<T>(period: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} within ${period} ms`)), period)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
