// What a world starts with: nothing, or a project with a past.

import { randomUUID } from 'node:crypto'
import type { Execution, Idea, Item, Session, Stage, Step } from '../src/api/types.ts'
import { NODE } from './execution.ts'
import type { LoggedEvent } from './log.ts'
import { World } from './world.ts'

export const PROJECT = 'a1f3c2d4-0000-4000-8000-000000000001'
export const LONG_SESSION = 'a1f3c2d4-0000-4000-8000-000000000002'
export const DONE_EXECUTION = 'a1f3c2d4-0000-4000-8000-000000000003'
const LONG_ITEMS = 600
/** When the steps of the done execution began, in minutes before now, and when the last ended. */
const STEP_MINUTES = [50, 49.8, 49.8, 49.8, 48, 47.5, 46.5, 43]

export function emptyWorld(pace: number): World {
  return new World(pace)
}

export function seededWorld(pace: number): World {
  const world = new World(pace)
  world.projects.set(PROJECT, {
    id: PROJECT,
    name: 'weather-station',
    repository: 'https://git.example.org/you/weather-station.git',
    createdAt: ago(9 * 24 * 60),
    defaults: { codingAgent: null, profile: 'lightweight', permissions: 'allow', vmSize: null, provider: null },
    nExecuting: 0,
    lastActivityAt: ago(42),
  })
  world.nodes.set(NODE, {
    id: NODE,
    name: 'local',
    provider: 'local',
    state: 'running',
    warmUntil: new Date(Date.now() + 12 * 60_000).toISOString(),
    slots: 3,
    placed: [],
    agentVersion: '0.1.0',
    engine: 'docker 20.10',
    isHealthy: true,
    lastHeartbeatAt: ago(0.3),
    createdAt: ago(300),
  })
  addDoneIdea(world)
  addIdea(world, 'Describe the wiring in the readme', 'exploring')
  addIdea(world, 'Log humidity beside temperature', 'exploring')
  addIdea(world, 'Retry uploads after a lost connection', 'ready')
  addIdea(world, 'Port the display driver to the new board revision', 'parked', 'The repository has no branch "rev-c".')
  addLongSession(world)
  world.position = 5_000
  return world
}

/** A read model that could not take an event, and a stream that cannot be folded. */
export function troubledWorld(pace: number): World {
  const world = seededWorld(pace)
  world.projections.set('chat_search', {
    name: 'chat_search', state: 'parked', position: 0, lag: 0, parkedPosition: 4_871, parkedAt: ago(14),
    reason: 'database disk image is malformed (while inserting into chat_words)',
  })
  world.damaged.push({ kind: 'node', stream: NODE, sequence: 17, reason: 'Event 17 is of version 9; this SAM knows version 2 at most.' })
  return world
}

function addIdea(world: World, title: string, stage: Stage, parkedReason?: string): Idea {
  const idea: Idea = {
    id: randomUUID(),
    project: PROJECT,
    title,
    description: `${title}.`,
    stage,
    executions: [],
    createdAt: ago(3_000),
    updatedAt: ago(700),
    needsInput: false,
    ...(parkedReason === undefined ? {} : { parkedReason }),
  }
  world.ideas.set(idea.id, idea)
  return idea
}

function addSession(world: World, session: Partial<Session> & Pick<Session, 'id' | 'title' | 'preview'>): void {
  world.sessions.set(session.id, {
    project: PROJECT,
    state: 'idle',
    codingAgent: 'demo',
    updatedAt: ago(42),
    ...session,
  })
}

function addDoneIdea(world: World): void {
  const session = randomUUID()
  const idea = addIdea(world, 'Show wind speed in knots', 'done')
  const branch = 'sam/show-wind-speed-in-4f2a9c'
  world.ideas.set(idea.id, { ...idea, session, execution: DONE_EXECUTION, executions: [DONE_EXECUTION], branch, codingAgent: 'claude-code' })
  addSession(world, { id: session, title: idea.title, preview: `Pushed ${branch}`, idea: idea.id, execution: DONE_EXECUTION, codingAgent: 'claude-code' })
  const names = ['node_selection', 'node_provisioning', 'node_agent_ready', 'workspace_creation', 'workspace_ready', 'agent_session', 'running'] as const
  const execution: Execution = {
    id: DONE_EXECUTION,
    idea: idea.id,
    project: PROJECT,
    session,
    node: NODE,
    state: 'done',
    step: 'running',
    steps: names.map((step, index): Step => ({ step, state: index === 1 || index === 2 ? 'skipped' : 'done', reason: index === 1 ? 'local is already running' : null, startedAt: ago(STEP_MINUTES[index] ?? 0), endedAt: ago(STEP_MINUTES[index + 1] ?? 0) })),
    codingAgent: 'claude-code',
    profile: 'lightweight',
    permissions: 'allow',
    baseBranch: 'main',
    branch,
    requestedAt: ago(50),
    endedAt: ago(42),
    events: [],
    result: {
      reference: `refs/heads/${branch}`,
      head: '7be01c93d2aa',
      base: '41d0c9be77aa',
      commits: [
        { id: '7be01c93d2aa4421', subject: 'Show wind speed in knots', author: 'SAM', at: ago(43) },
        { id: '12fa77be0c9d9911', subject: 'Cover the conversion with tests', author: 'SAM', at: ago(44) },
      ],
      files: [
        { path: 'src/display.rs', added: 6, removed: 2 },
        { path: 'src/units.rs', added: 12, removed: 0 },
      ],
      isDiffCut: false,
    },
  }
  world.executions.set(execution.id, execution)
  world.diffs.set(execution.id, DIFF)
  addPast(world, execution)
  putAll(world, session, [
    message('Show wind speed in knots, beside metres per second.', 'person'),
    message('The display formats values in `src/display.rs`; a conversion fits into `src/units.rs`.', 'agent', 'thought'),
    call('read', 'src/display.rs', 'pub fn line(reading: &Reading) -> String { … }'),
    call('read', 'src/units.rs', 'pub struct MetresPerSecond(pub f64);'),
    call('search', 'MetresPerSecond', '4 places'),
    { ...call('edit', 'src/units.rs', ''), content: [{ type: 'diff', path: 'src/units.rs', oldText: 'pub struct MetresPerSecond(pub f64);\n', newText: 'pub struct MetresPerSecond(pub f64);\n\nimpl MetresPerSecond {\n    pub fn knots(self) -> f64 {\n        self.0 * 1.943_844\n    }\n}\n' }] },
    { ...call('execute', 'cargo test units', ''), input: { command: 'cargo test units' }, content: [{ type: 'content', content: { type: 'text', text: 'running 3 tests\ntest result: ok. 3 passed\n' } }] },
    message('Wind speed is shown in **knots** now, in brackets after metres per second:\n\n```rust\nformat!("{:.1} m/s ({:.0} kn)", speed.0, speed.knots())\n```\n\n- the factor is 1.943 844\n- three tests cover it', 'agent'),
    { item: 'turn_end', ...base(), end: 'stopped', reason: 'end_turn' },
  ])
  endPast(world, execution)
}

/** What the log has of the done execution: who did what, and a workspace that came up at the second attempt only. */
function addPast(world: World, { id: execution, idea, session, branch }: Execution): void {
  const workspace = 'a1f3c2d4-0000-4000-8000-00000000000c'
  const past: [number, string, string, string, string, string, Partial<LoggedEvent>][] = [
    [50, 'idea', idea, 'IdeaSubmitted', 'Show wind speed in knots', 'Owner', { state: { stage: 'executing', branch } }],
    [50, 'execution', execution, 'ExecutionRequested', 'An execution was requested', 'SAM', { phase: 'node_selection', state: { step: 'node_selection', branch } }],
    [49.9, 'node', NODE, 'NodeSelected', 'local has room for one more', 'SAM', { phase: 'node_selection', tookMs: 18_000, state: { Running: { slots: 3, placed: [] } } }],
    [49.8, 'execution', execution, 'StepSkipped', 'local is already running', 'SAM', { phase: 'node_provisioning', state: { step: 'node_provisioning', branch } }],
    [49.8, 'execution', execution, 'StepSkipped', 'connected', 'SAM', { phase: 'node_agent_ready', state: { step: 'node_agent_ready', branch } }],
    [49.7, 'node', NODE, 'WorkspacePlaced', 'A workspace was placed on local', 'SAM', { phase: 'workspace_creation', state: { Running: { slots: 3, placed: [{ workspace, execution }] } } }],
    [49, 'workspace', workspace, 'WorkspaceFailed', 'The image could not be pulled: connection reset', 'agent on local', { phase: 'workspace_creation', tookMs: 42_000, state: { Failed: { reason: 'connection reset' } } }],
    [48.9, 'process', execution, 'IntentRepeated', 'The workspace is created again', 'SAM', { phase: 'workspace_creation', attempt: 2 }],
    [48, 'workspace', workspace, 'WorkspaceOpened', 'sam-base:1 runs', 'agent on local', { phase: 'workspace_creation', attempt: 2, tookMs: 54_000, state: { Running: { image: 'sam-base:1', branch } } }],
    [47.5, 'git', workspace, 'BranchCheckedOut', `Checked out ${branch} at 41d0c9be77`, 'agent on local', { phase: 'workspace_ready', tookMs: 30_000 }],
    [47, 'session', session, 'AgentStarted', 'Claude Code over ACP', 'agent on local', { phase: 'agent_session', tookMs: 30_000 }],
    [46, 'execution', execution, 'StepEntered', 'The prompt was sent', 'SAM', { phase: 'running', state: { step: 'running', branch } }],
  ]
  for (const [minutes, kind, stream, event, summary, actor, more] of past) {
    world.position += 7
    world.log.append({ position: world.position, at: ago(minutes), kind, stream, event, summary, actor, project: PROJECT, idea, execution, session, ...more })
  }
}

function endPast(world: World, { id: execution, idea, session, branch }: Execution): void {
  const past: [number, string, string, string, string, string, Partial<LoggedEvent>][] = [
    [43, 'execution', execution, 'ExecutionFinishing', 'What is left is committed', 'SAM', { phase: 'finishing', state: { step: 'finishing', branch } }],
    [42.4, 'git', execution, 'committed', '12fa77be0c Cover the conversion with tests', 'SAM', { phase: 'finishing' }],
    [42.3, 'git', execution, 'committed', '7be01c93d2 Show wind speed in knots', 'SAM', { phase: 'finishing', tookMs: 42_000 }],
    [42.2, 'git', execution, 'Pushed', `Pushed ${branch}`, 'agent on local', { phase: 'push' }],
    [42, 'execution', execution, 'ExecutionDone', `Pushed ${branch}`, 'SAM', { phase: 'push', tookMs: 12_000, state: { step: 'done', branch } }],
    [42, 'idea', idea, 'IdeaDone', 'Show wind speed in knots', 'SAM', { state: { stage: 'done', branch } }],
  ]
  for (const [minutes, kind, stream, event, summary, actor, more] of past) {
    world.position += 7
    world.log.append({ position: world.position, at: ago(minutes), kind, stream, event, summary, actor, project: PROJECT, idea, execution, session, ...more })
  }
}

function addLongSession(world: World): void {
  addSession(world, { id: LONG_SESSION, title: 'A long conversation about calibration', preview: `Answer ${LONG_ITEMS}`, updatedAt: ago(60 * 26) })
  putAll(
    world,
    LONG_SESSION,
    Array.from({ length: LONG_ITEMS }, (_, index): Item => {
      const n = index + 1
      if (n % 4 === 1) return message(`Question ${n}`, 'person')
      if (n % 4 === 2) return call('execute', `./calibrate --step ${n}`, `step ${n}: ok`)
      return message(`Answer ${n}. ${'The sensor drifts a little with temperature. '.repeat(n % 7)}`, 'agent')
    }),
  )
}

function putAll(world: World, session: string, items: Item[]): void {
  for (const item of items) world.put(session, item)
}

function base() {
  return { key: randomUUID(), position: 0, at: ago(45) }
}

function message(text: string, author: 'person' | 'agent', kind: 'answer' | 'thought' = 'answer'): Item {
  return { item: 'message', ...base(), author, kind, text, nChunks: 1, isComplete: true, isTruncated: false, isQueued: false }
}

function call(kind: string, title: string, output: string) {
  const at = ago(45)
  return {
    item: 'tool_call' as const,
    ...base(),
    endedAt: new Date(new Date(at).getTime() + 420).toISOString(),
    call: randomUUID(),
    kind,
    status: 'completed' as const,
    title,
    locations: kind === 'execute' || kind === 'search' ? [] : [title],
    content: [],
    ...(output === '' ? {} : { output }),
  }
}

function ago(minutes: number): string {
  return new Date(Date.now() - minutes * 60_000).toISOString()
}

const DIFF = `diff --git a/src/display.rs b/src/display.rs
index 51ab2c3..8d0e1f7 100644
--- a/src/display.rs
+++ b/src/display.rs
@@ -18,9 +18,13 @@ pub fn line(reading: &Reading) -> String {
     let temperature = reading.temperature;
-    let speed = reading.wind.0;
-    format!("{temperature:.1} °C  {speed:.1} m/s")
+    let speed = reading.wind;
+    let knots = speed.knots();
+    format!(
+        "{temperature:.1} °C  {:.1} m/s ({knots:.0} kn)",
+        speed.0,
+    )
 }
 
 /// How many lines the display has.
diff --git a/src/units.rs b/src/units.rs
index 0a4d2b1..c3e9f02 100644
--- a/src/units.rs
+++ b/src/units.rs
@@ -1,2 +1,14 @@
 #[derive(Clone, Copy, Debug, PartialEq)]
 pub struct MetresPerSecond(pub f64);
+
+impl MetresPerSecond {
+    /// Nautical miles per hour.
+    pub fn knots(self) -> f64 {
+        self.0 * 1.943_844
+    }
+}
+
+#[test]
+fn ten_metres_per_second_are_about_nineteen_knots() {
+    assert!((MetresPerSecond(10.0).knots() - 19.4).abs() < 0.1);
+}
`
