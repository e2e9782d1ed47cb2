// Reads what a coding agent attached to a tool call (ACP content blocks). Agents differ, so anything may be missing.

export type Block =
  | { block: 'text'; text: string }
  | { block: 'diff'; path: string; before: string; after: string }
  | { block: 'other'; text: string }

export function blocksOf(content: readonly unknown[]): Block[] {
  return content.map(blockOf).filter((block) => block.block === 'diff' || block.text !== '')
}

/** A tool's input or output as text: a command as it was typed, else readable JSON. */
export function rawText(value: unknown): string {
  if (value === undefined || value === null) return ''
  if (typeof value === 'string') return value
  if (isRecord(value)) {
    const command = value['command']
    if (typeof command === 'string') return command
    if (Array.isArray(command)) return command.join(' ')
    const output = value['stdout'] ?? value['output']
    if (typeof output === 'string') return output
  }
  return JSON.stringify(value, null, 2)
}

/** What a tool call is about, in a few words. */
export function targetOf(call: { title: string; locations: string[]; kind: string }): string {
  return call.title !== '' ? call.title : (call.locations[0] ?? call.kind)
}

function blockOf(content: unknown): Block {
  if (typeof content === 'string') return { block: 'text', text: content }
  if (!isRecord(content)) return { block: 'other', text: rawText(content) }
  if (content['type'] === 'content') return blockOf(content['content'])
  if (content['type'] === 'text') return { block: 'text', text: textIn(content, 'text') }
  if (content['type'] === 'diff') {
    return {
      block: 'diff',
      path: textIn(content, 'path'),
      before: textIn(content, 'oldText'),
      after: textIn(content, 'newText'),
    }
  }
  return { block: 'other', text: rawText(content) }
}

function textIn(record: Record<string, unknown>, name: string): string {
  const value = record[name]
  return typeof value === 'string' ? value : ''
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
