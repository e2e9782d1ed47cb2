// Turns a conversation's items into the rows of the transcript.

import type { Item, PlanItem, ToolCallItem } from '~/api/types'

export type Row =
  | { row: 'item'; key: string; item: Exclude<Item, PlanItem> }
  | { row: 'reads'; key: string; calls: ToolCallItem[] }

const READ_KINDS: readonly string[] = ['read', 'search']

/** Groups consecutive finished reads, and leaves the plan out: it is shown above, where it stays in sight. */
export function rowsOf(items: readonly Item[]): Row[] {
  const rows: Row[] = []
  for (const item of items) {
    if (item.item === 'plan') continue
    // What a person wrote is never empty: without a text it was erased, and that is shown.
    if (item.item === 'message' && item.text === '' && item.isComplete && item.author === 'agent') continue
    if (item.item === 'tool_call' && isQuietRead(item)) {
      const last = rows.at(-1)
      if (last?.row === 'reads') {
        last.calls.push(item)
        continue
      }
      // The key is that of the first read, so that a growing group stays the same row.
      rows.push({ row: 'reads', key: `reads-${item.key}`, calls: [item] })
      continue
    }
    rows.push({ row: 'item', key: item.key, item })
  }
  return rows.map((row) => {
    const [only, another] = row.row === 'reads' ? row.calls : []
    return only !== undefined && another === undefined
      ? { row: 'item', key: row.key, item: only }
      : row
  })
}

/** Whether an item stands in a row, alone or in a group. */
export function isRowOf(row: Row, key: string): boolean {
  return row.row === 'reads' ? row.calls.some((call) => call.key === key) : row.item.key === key
}

/** The newest plan, unless it belongs to an execution before the one that began at `since`. */
export function planOf(items: readonly Item[], since?: string): PlanItem | undefined {
  const plan = items.findLast((item) => item.item === 'plan')
  if (plan === undefined || since === undefined) return plan
  return new Date(plan.at) < new Date(since) ? undefined : plan
}

/** What the coding agent is doing right now, if it says so. */
export function activityOf(items: readonly Item[]): ToolCallItem | undefined {
  const last = items.findLast((item) => item.item === 'tool_call')
  return last?.status === 'in_progress' || last?.status === 'pending' ? last : undefined
}

function isQuietRead(call: ToolCallItem): boolean {
  return READ_KINDS.includes(call.kind) && call.status === 'completed'
}
