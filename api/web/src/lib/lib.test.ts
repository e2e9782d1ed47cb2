import { describe, expect, test } from 'vitest'
import type { Item, ToolCallItem } from '~/api/types'
import { changedKeys, keys } from '~/api/keys'
import { diffOfTexts, parseDiff } from '~/lib/diff'
import { activityOf, planOf, rowsOf } from '~/lib/rows'
import { matches } from '~/lib/search'
import { keyName } from '~/lib/shortcuts'
import { ago, clockDuration, duration, minutesUntil } from '~/lib/time'
import { blocksOf, rawText, targetOf } from '~/lib/toolContent'
import { isUnread } from '~/lib/unread'

describe('times', () => {
  test('are said as people say them', () => {
    expect(clockDuration(42_900)).toBe('0:42')
    expect(clockDuration(3_723_000)).toBe('1:02:03')
    expect(clockDuration(-5)).toBe('0:00')
    expect(duration(420)).toBe('0.4 s')
    expect(duration(185_000)).toBe('3 min 5 s')
    expect(duration(7_260_000)).toBe('2 h 1 min')
    const now = new Date('2026-01-01T12:00:00Z')
    expect(ago('2026-01-01T11:59:30Z', now)).toBe('just now')
    expect(ago('2026-01-01T09:00:00Z', now)).toBe('3 h ago')
    expect(minutesUntil('2026-01-01T12:11:01Z', now)).toBe(12)
    expect(minutesUntil('2026-01-01T11:00:00Z', now)).toBe(0)
  })
})

describe('diffs', () => {
  const DIFF = [
    'diff --git a/a file.txt b/a file.txt',
    'index 1..2 100644',
    '--- a/a file.txt',
    '+++ b/a file.txt',
    '@@ -3,3 +3,3 @@ fn main() {',
    ' same',
    '-old',
    '+new',
    ' end',
    '\\ No newline at end of file',
    'diff --git a/logo.png b/logo.png',
    'new file mode 100644',
    'Binary files /dev/null and b/logo.png differ',
    'diff --git a/x b/y',
    'similarity index 100%',
    'rename from x',
    'rename to y',
    '',
  ].join('\n')

  test('are read into files with numbered lines', () => {
    const [text, image, renamed] = parseDiff(DIFF)
    expect(text).toMatchObject({ path: 'a file.txt', status: 'changed', added: 1, removed: 1 })
    expect(text?.hunks[0]?.lines).toEqual([
      { kind: 'same', text: 'same', oldNumber: 3, newNumber: 3 },
      { kind: 'removed', text: 'old', oldNumber: 4 },
      { kind: 'added', text: 'new', newNumber: 4 },
      { kind: 'same', text: 'end', oldNumber: 5, newNumber: 5 },
      { kind: 'note', text: 'No newline at end of file' },
    ])
    expect(image).toMatchObject({ path: 'logo.png', status: 'binary' })
    expect(renamed).toMatchObject({ path: 'y', oldPath: 'x', status: 'renamed' })
  })

  test('a removed line that looks like a header stays a line', () => {
    const [file] = parseDiff('diff --git a/q b/q\n--- a/q\n+++ b/q\n@@ -1 +1 @@\n--- a comment\n+-- another\n')
    expect(file).toMatchObject({ path: 'q', added: 1, removed: 1 })
  })

  test('cut anywhere, they are read as far as they go', () => {
    for (let end = 0; end <= DIFF.length; end += 1) expect(() => parseDiff(DIFF.slice(0, end))).not.toThrow()
  })

  test('of two texts show what changed with a little around it', () => {
    const lines = diffOfTexts('1\n2\n3\n4\n5\n6\n', '1\n2\n3\n4\nfive\n6\n')
    expect(lines.map(({ kind, text }) => `${kind} ${text}`)).toEqual([
      'same 2', 'same 3', 'same 4', 'removed 5', 'added five', 'same 6',
    ])
    expect(diffOfTexts('', 'a\n')).toEqual([{ kind: 'added', text: 'a', newNumber: 1 }])
  })
})

describe('rows', () => {
  test('group finished reads and leave the plan out', () => {
    const items: Item[] = [call('a', 'read'), call('b', 'search'), plan(), call('c', 'edit'), call('d', 'read')]
    expect(rowsOf(items).map((row) => (row.row === 'reads' ? row.calls.length : row.item.item))).toEqual([
      2, 'tool_call', 'tool_call',
    ])
    expect(planOf(items)?.key).toBe('plan')
    expect(planOf(items, '2026-01-01T00:00:00.5Z')?.key).toBe('plan')
    expect(planOf(items, '2026-01-02T00:00:00Z')).toBeUndefined()
  })

  test('a growing group stays the same row', () => {
    const one = rowsOf([call('a', 'read')])
    const two = rowsOf([call('a', 'read'), call('b', 'read')])
    expect(one[0]?.key).toBe(two[0]?.key)
  })

  test('name what is going on', () => {
    expect(activityOf([call('a', 'execute', 'in_progress')])?.key).toBe('a')
    expect(activityOf([call('a', 'execute')])).toBeUndefined()
  })
})

describe('tool calls', () => {
  test('show text and diffs whatever the agent sends', () => {
    expect(
      blocksOf([
        { type: 'content', content: { type: 'text', text: 'out' } },
        { type: 'diff', path: 'a', oldText: null, newText: 'b' },
        'plain',
        null,
        { type: 'text', text: '' },
        { odd: 1 },
      ]),
    ).toEqual([
      { block: 'text', text: 'out' },
      { block: 'diff', path: 'a', before: '', after: 'b' },
      { block: 'text', text: 'plain' },
      { block: 'other', text: '{\n  "odd": 1\n}' },
    ])
    expect(rawText({ command: 'ls' })).toBe('ls')
    expect(rawText(undefined)).toBe('')
    expect(targetOf({ title: '', locations: ['src/a.rs'], kind: 'read' })).toBe('src/a.rs')
  })
})

describe('changes', () => {
  test('of an execution are read again wherever it is shown', () => {
    const touched = changedKeys({ type: 'changed', position: 1, event: 'X', project: 'p', execution: 'e', idea: 'i' })
    for (const key of [keys.execution('e'), keys.timeline('e'), keys.ideas('p'), keys.idea('i'), keys.sessions('p')]) {
      expect(touched).toContainEqual(key)
    }
  })

  test('of a title are read again in conversations, too', () => {
    const touched = changedKeys({ type: 'changed', position: 1, event: 'idea/titled', project: 'p', idea: 'i' })
    for (const key of [keys.ideas('p'), keys.idea('i'), keys.sessions('p'), ['session']]) {
      expect(touched).toContainEqual(key)
    }
  })
})

test('a search finds words in any order', () => {
  expect(matches('knots wind', 'Show wind speed in knots')).toBe(true)
  expect(matches('rain', 'Show wind speed')).toBe(false)
  expect(matches('', 'anything')).toBe(true)
})

test('keys are named as in the list of shortcuts', () => {
  expect(keyName({ key: 'K', metaKey: true, ctrlKey: false })).toBe('mod+k')
  expect(keyName({ key: '?', metaKey: false, ctrlKey: false })).toBe('?')
})

test('unread is what moved after it was shown', () => {
  expect(isUnread({ updatedAt: '2026-01-02', state: 'idle' }, '2026-01-01')).toBe(true)
  expect(isUnread({ updatedAt: '2026-01-01', state: 'idle' }, '2026-01-01')).toBe(false)
  expect(isUnread({ updatedAt: '2026-01-01', state: 'needs_input' }, '')).toBe(true)
})

function call(key: string, kind: string, status: ToolCallItem['status'] = 'completed'): ToolCallItem {
  return { item: 'tool_call', key, position: 1, at: '', call: key, kind, status, title: key, locations: [], content: [] }
}

function plan(): Item {
  return { item: 'plan', key: 'plan', position: 2, at: '2026-01-01T00:00:01Z', entries: [] }
}
