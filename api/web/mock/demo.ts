// The demo agent as the UI sees it: follows directives, one a line, and streams what it says.

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Execution, PermissionItem, PlanEntry, TextKind, ToolCallItem } from '../src/api/types.ts'
import type { World } from './world.ts'

export class Cancelled extends Error {}

interface WrittenFile {
  path: string
  added: number
  diff: string
}

const DIRECTIVE = /^(write|run|say|think|ask|plan|sleep|stream|fail|hang|lose|read):?\s*(.*)$/
const CHUNK_MS = 24

export class DemoTurn {
  readonly files: WrittenFile[] = []
  #plan: PlanEntry[] = []
  #nActs = 0
  readonly #stop = new AbortController()

  constructor(
    private readonly world: World,
    private readonly execution: Execution,
  ) {}

  cancel(): void {
    this.#stop.abort()
  }

  /** Waits some beats of the world's pace; throws when cancelled. */
  async wait(beats: number): Promise<void> {
    await this.#pause(beats * this.world.pace)
  }

  /** Answers one prompt. */
  async play(prompt: string): Promise<void> {
    const { session } = this.execution
    this.world.changeSession(session, { state: 'working', preview: 'Working' })
    const lines = prompt.split('\n').filter((line) => line.trim() !== '')
    const directives = lines.map((line) => DIRECTIVE.exec(line.trim()))
    if (directives.every((directive) => directive === null)) await this.#lookRound()
    for (const directive of directives) {
      if (directive !== null) await this.#follow(directive[1] ?? '', directive[2] ?? '')
    }
    this.#advancePlan(true)
    this.#end('stopped', 'end_turn')
    this.world.record('TurnEnded', { execution: this.execution.id, session, project: this.execution.project }, 'The turn ended', 'agent')
  }

  async #lookRound(): Promise<void> {
    await this.#say('thought', 'I am a demo: I look at what is there and write a short note about it.')
    for (const path of ['README.md', 'Cargo.toml', 'src/main.rs']) {
      await this.#call('read', path, { locations: [path], output: `${path}: 40 lines` })
    }
    await this.#write('SAM-DEMO.md', '# A note by the demo agent\n\nThis repository has a README and some Rust.\n')
    await this.#say(
      'answer',
      'I looked round and wrote **`SAM-DEMO.md`**.\n\n| Found | Where |\n|---|---|\n| A readme | `README.md` |\n| A program | `src/main.rs` |\n\n```rust\nfn main() {\n    println!("hello"); // greets\n}\n```\n\nI am the demo agent: add an Anthropic key in Settings to have ideas really carried out.',
    )
  }

  async #follow(verb: string, rest: string): Promise<void> {
    if (verb !== 'plan') this.#advancePlan(false)
    switch (verb) {
      case 'write': {
        const [path = '', text = ''] = rest.split(/:\s*(.*)/s)
        await this.#write(path, `${text}\n`)
        return
      }
      case 'read':
        await this.#call('read', rest, { locations: [rest], output: 'the file' })
        return
      case 'run':
        await this.#call('execute', rest, {
          input: { command: rest },
          content: [{ type: 'content', content: { type: 'text', text: `$ ${rest}\nok\n` } }],
        })
        return
      case 'say':
        await this.#say('answer', rest)
        return
      case 'think':
        await this.#say('thought', rest)
        return
      case 'ask':
        await this.#ask(rest)
        return
      case 'plan':
        this.#plan = rest.split(';').map((content) => ({ content: content.trim(), priority: 'medium', status: 'pending' }))
        this.#advancePlan(false)
        return
      case 'sleep':
        await this.#pause(Number(rest) * 1000)
        return
      case 'stream':
        await this.#stream(rest)
        return
      case 'fail':
        this.#end('failed', rest)
        throw new Error(`The agent reported an error: ${rest}`)
      case 'hang':
        await this.#pause(3_600_000)
        return
      case 'lose':
        await this.#lose()
        return
    }
  }

  async #say(kind: TextKind, text: string): Promise<void> {
    const message = randomUUID()
    for (const piece of text.match(/\s*\S+\s*/g) ?? []) {
      this.world.stream(this.execution.session, message, kind, piece)
      await this.#pause(Math.min(CHUNK_MS, this.world.pace))
    }
    this.world.close(message)
    if (kind === 'answer') this.world.changeSession(this.execution.session, { preview: text.slice(0, 80) })
  }

  async #stream(rest: string): Promise<void> {
    const [count = 100, perSecond = 50] = rest.split(/\s+/).map(Number)
    const message = randomUUID()
    for (let index = 0; index < count; index += 1) {
      this.world.stream(this.execution.session, message, 'answer', `word${index} `)
      await this.#pause(1000 / perSecond)
    }
    this.world.close(message)
  }

  async #write(path: string, text: string): Promise<void> {
    const lines = text.replace(/\n$/, '').split('\n')
    await this.#call('edit', path, {
      locations: [path],
      content: [{ type: 'diff', path, oldText: null, newText: text }],
    })
    this.files.push({
      path,
      added: lines.length,
      diff: `diff --git a/${path} b/${path}\nnew file mode 100644\n--- /dev/null\n+++ b/${path}\n@@ -0,0 +1,${lines.length} @@\n${lines.map((line) => `+${line}\n`).join('')}`,
    })
  }

  async #call(
    kind: string,
    title: string,
    detail: Partial<Pick<ToolCallItem, 'locations' | 'input' | 'content' | 'output'>>,
  ): Promise<void> {
    const call: ToolCallItem = {
      item: 'tool_call',
      key: randomUUID(),
      position: 0,
      at: this.world.now(),
      call: `call-${randomUUID().slice(0, 8)}`,
      kind,
      status: 'in_progress',
      title,
      locations: detail.locations ?? [],
      content: [],
      ...(detail.input === undefined ? {} : { input: detail.input }),
    }
    this.world.put(this.execution.session, call)
    await this.wait(1)
    this.world.put(this.execution.session, {
      ...call,
      status: 'completed',
      endedAt: this.world.now(),
      content: detail.content ?? [],
      ...(detail.output === undefined ? {} : { output: detail.output }),
    })
  }

  async #ask(title: string): Promise<void> {
    const { session, permissions, idea } = this.execution
    const permission: PermissionItem = {
      item: 'permission',
      key: randomUUID(),
      position: 0,
      at: this.world.now(),
      request: randomUUID(),
      title,
      options: [
        { id: 'allow', name: 'Allow once', kind: 'allow_once' },
        { id: 'always', name: 'Always allow', kind: 'allow_always' },
        { id: 'reject', name: 'Reject', kind: 'reject_once' },
      ],
    }
    if (permissions === 'allow') {
      this.world.put(session, { ...permission, answer: { option: 'allow', name: 'Allow once', by: 'policy' } })
      return
    }
    this.world.put(session, permission)
    this.#needPerson(true, title)
    const option = await this.#answered(permission.request)
    const chosen = permission.options.find(({ id }) => id === option)
    this.world.put(session, { ...permission, answer: { option, name: chosen?.name ?? option, by: 'person' } })
    this.#needPerson(false, 'Working')
    this.world.changeIdea(idea, { needsInput: false }, 'PermissionAnswered')
    if (option === 'reject') await this.#say('answer', 'Then I leave that out.')
  }

  async #lose(): Promise<void> {
    const { id, session, idea } = this.execution
    const reason = 'The container stopped while the agent was at work. It is not known how far it came.'
    this.#end('lost', 'the container stopped')
    this.world.changeExecution(id, { state: 'needs_input', reason }, 'PromptLost', reason)
    this.world.changeIdea(idea, { needsInput: true }, 'InputNeeded')
    this.world.changeSession(session, { state: 'needs_input', preview: reason })
    const choice = await this.#answered(id)
    this.world.changeIdea(idea, { needsInput: false }, 'InputGiven')
    if (choice === 'park') throw new Error('Parked after its prompt was lost.')
    this.world.changeExecution(id, { state: 'running', reason: null }, 'Continued', 'Continued by you')
    this.world.changeSession(session, { state: 'working', preview: 'Working' })
  }

  #needPerson(isNeeded: boolean, preview: string): void {
    const { session, idea } = this.execution
    this.world.changeIdea(idea, { needsInput: isNeeded }, 'PermissionAsked')
    this.world.changeSession(session, { state: isNeeded ? 'needs_input' : 'working', preview })
  }

  #answered(request: string): Promise<string> {
    return new Promise((resolve, reject) => {
      this.world.waiting.set(request, resolve)
      this.#stop.signal.addEventListener('abort', () => reject(new Cancelled()))
    })
  }

  #advancePlan(isOver: boolean): void {
    if (this.#plan.length === 0) return
    const n = isOver ? this.#plan.length : Math.min(this.#nActs, this.#plan.length - 1)
    this.#nActs += 1
    this.#plan = this.#plan.map((entry, index) => ({
      ...entry,
      status: index < n ? 'completed' : index === n ? 'in_progress' : 'pending',
    }))
    this.world.put(this.execution.session, {
      item: 'plan',
      key: `plan-${this.execution.id}`,
      position: 0,
      at: this.world.now(),
      entries: this.#plan,
    })
  }

  #end(end: 'stopped' | 'failed' | 'lost', reason: string): void {
    const key = randomUUID()
    this.world.put(this.execution.session, { item: 'turn_end', key, position: 0, at: this.world.now(), end, reason })
  }

  async #pause(ms: number): Promise<void> {
    try {
      await sleep(ms, undefined, { signal: this.#stop.signal })
    } catch {
      throw new Cancelled()
    }
  }
}
