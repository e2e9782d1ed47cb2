import { useState } from 'react'
import type { ToolCallItem } from '~/api/types'
import { DiffLines } from '~/components/DiffView'
import { diffOfTexts } from '~/lib/diff'
import { blocksOf, rawText, targetOf } from '~/lib/toolContent'
import { count, TOOL_CALL_STATES } from '~/lib/words'
import { StateDot } from '~/ui/Badge'
import { Elapsed } from '~/ui/Elapsed'
import { Icon, type IconName } from '~/ui/Icon'

const KIND_ICONS: Readonly<Record<string, IconName>> = {
  read: 'read',
  edit: 'edit',
  delete: 'remove',
  move: 'move',
  search: 'search',
  execute: 'run',
  think: 'think',
  fetch: 'globe',
}

const KIND_WORDS: Readonly<Record<string, string>> = {
  read: 'Read',
  edit: 'Edit',
  delete: 'Delete',
  move: 'Move',
  search: 'Search',
  execute: 'Run',
  think: 'Think',
  fetch: 'Fetch',
}

/** One thing the coding agent did: a line, which opens to what went in and what came out. */
export function ToolCallCard({ call }: { call: ToolCallItem }) {
  // A failure opens by itself; large outputs are not drawn until somebody looks.
  const [isOpen, setIsOpen] = useState(call.status === 'failed')
  const state = TOOL_CALL_STATES[call.status]
  return (
    <details
      className="tool-call"
      open={isOpen}
      onToggle={(event) => setIsOpen(event.currentTarget.open)}
    >
      <summary data-nav>
        <Icon name="chevron" className="twist" />
        <Icon name={KIND_ICONS[call.kind] ?? 'tool'} />
        <span className="sr-only">{KIND_WORDS[call.kind] ?? 'Tool'}: </span>
        <span className="tool-target">{targetOf(call)}</span>
        <StateDot tone={state.tone} label={state.label} />
        {call.at !== '' && <Elapsed from={call.at} to={endOf(call)} />}
      </summary>
      {isOpen && <ToolCallBody call={call} />}
    </details>
  )
}

/** Several reads in a row: looking round is one thing. */
export function ReadsCard({ calls }: { calls: readonly ToolCallItem[] }) {
  return (
    <details className="tool-call">
      <summary data-nav>
        <Icon name="chevron" className="twist" />
        <Icon name="read" />
        <span className="tool-target">
          Looked at {count(calls.length, 'place')}
          <span className="soft"> · {calls.map(targetOf).join(', ')}</span>
        </span>
        <StateDot tone="good" label="done" />
      </summary>
      <div className="reads">
        {calls.map((call) => (
          <ToolCallCard key={call.key} call={call} />
        ))}
      </div>
    </details>
  )
}

function ToolCallBody({ call }: { call: ToolCallItem }) {
  const blocks = blocksOf(call.content)
  const input = rawText(call.input)
  const output = rawText(call.output)
  const isRepeated = blocks.some((block) => block.block === 'text' && block.text.trim() === output.trim())
  const hasDiff = blocks.some((block) => block.block === 'diff')
  return (
    <div className="tool-body">
      {call.locations.length > 0 && <p className="tool-places">{call.locations.join(' · ')}</p>}
      {input !== '' && !hasDiff && <Listing label="Input" text={input} />}
      {blocks.map((block, index) =>
        block.block === 'diff' ? (
          <section key={index} className="tool-diff" aria-label={`Change to ${block.path}`}>
            <p className="tool-places">{block.path}</p>
            <DiffLines lines={diffOfTexts(block.before, block.after)} />
          </section>
        ) : (
          <Listing key={index} label={call.kind === 'execute' ? 'Output' : 'Content'} text={block.text} />
        ),
      )}
      {output !== '' && !isRepeated && <Listing label="Output" text={output} />}
      {input === '' && output === '' && blocks.length === 0 && (
        <p className="soft">It gave no input and no output.</p>
      )}
    </div>
  )
}

function Listing({ label, text }: { label: string; text: string }) {
  return (
    <section className="listing" aria-label={label}>
      <p className="listing-label">{label}</p>
      {/* A region that scrolls must be reachable by keyboard. */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <pre tabIndex={0}>{text}</pre>
    </section>
  )
}

/** A call that is over without saying when took no time worth showing. */
function endOf(call: ToolCallItem): string | undefined {
  if (call.endedAt) return call.endedAt
  return call.status === 'completed' || call.status === 'failed' ? call.at : undefined
}
