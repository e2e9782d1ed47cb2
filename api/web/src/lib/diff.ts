// Reads a unified diff into files, hunks and numbered lines.
//
// Absent on purpose: applying or checking it. A diff cut in the middle reads as far as it goes.

export interface DiffLine {
  kind: 'same' | 'added' | 'removed' | 'note'
  text: string
  oldNumber?: number
  newNumber?: number
}

export interface Hunk {
  header: string
  lines: DiffLine[]
}

export interface DiffFile {
  path: string
  oldPath: string
  status: 'changed' | 'added' | 'deleted' | 'renamed' | 'binary'
  added: number
  removed: number
  hunks: Hunk[]
}

const HUNK = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@/

export function parseDiff(diff: string): DiffFile[] {
  const files: DiffFile[] = []
  let file: DiffFile | undefined
  let hunk: Hunk | undefined
  let oldNumber = 0
  let newNumber = 0
  const lines = diff.split('\n')
  if (lines.at(-1) === '') lines.pop()
  for (const line of lines) {
    if (line.startsWith('diff --git ')) {
      file = startedFile(line)
      hunk = undefined
      files.push(file)
      continue
    }
    if (file === undefined) continue
    const start = HUNK.exec(line)
    if (start !== null) {
      oldNumber = Number(start[1])
      newNumber = Number(start[2])
      hunk = { header: line, lines: [] }
      file.hunks.push(hunk)
    } else if (hunk === undefined) {
      readFileHeader(file, line)
    } else if (line.startsWith('+')) {
      hunk.lines.push({ kind: 'added', text: line.slice(1), newNumber })
      file.added += 1
      newNumber += 1
    } else if (line.startsWith('-')) {
      hunk.lines.push({ kind: 'removed', text: line.slice(1), oldNumber })
      file.removed += 1
      oldNumber += 1
    } else if (line.startsWith('\\')) {
      hunk.lines.push({ kind: 'note', text: line.slice(2) })
    } else {
      hunk.lines.push({ kind: 'same', text: line.slice(1), oldNumber, newNumber })
      oldNumber += 1
      newNumber += 1
    }
  }
  return files
}

/** Compares two texts line by line, for a coding agent's edit that comes as before and after. */
export function diffOfTexts(before: string, after: string): DiffLine[] {
  const [old, now] = [linesOf(before), linesOf(after)]
  let head = 0
  while (head < old.length && head < now.length && old[head] === now[head]) head += 1
  let tail = 0
  while (
    tail < old.length - head &&
    tail < now.length - head &&
    old[old.length - 1 - tail] === now[now.length - 1 - tail]
  ) {
    tail += 1
  }
  const same = (text: string, index: number): DiffLine => ({
    kind: 'same',
    text,
    oldNumber: index + 1,
    newNumber: index + 1 + (index >= head ? now.length - old.length : 0),
  })
  const context = 3
  const from = Math.max(0, head - context)
  const tailStart = old.length - tail
  return [
    ...old.slice(from, head).map((text, index) => same(text, from + index)),
    ...old.slice(head, tailStart).map(
      (text, index): DiffLine => ({ kind: 'removed', text, oldNumber: head + index + 1 }),
    ),
    ...now.slice(head, now.length - tail).map(
      (text, index): DiffLine => ({ kind: 'added', text, newNumber: head + index + 1 }),
    ),
    ...old.slice(tailStart, tailStart + context).map((text, index) => same(text, tailStart + index)),
  ]
}

function linesOf(text: string): string[] {
  if (text === '') return []
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  return lines
}

function startedFile(line: string): DiffFile {
  // A fallback only: names with spaces are read from the lines that follow.
  const [, from = '', to = ''] = /^diff --git "?a\/(.*?)"? "?b\/(.*?)"?$/.exec(line) ?? []
  return { path: to, oldPath: from, status: 'changed', added: 0, removed: 0, hunks: [] }
}

function readFileHeader(file: DiffFile, line: string): void {
  if (line.startsWith('new file mode')) file.status = 'added'
  else if (line.startsWith('deleted file mode')) file.status = 'deleted'
  else if (line.startsWith('rename from ')) file.oldPath = line.slice('rename from '.length)
  else if (line.startsWith('rename to ')) {
    file.path = line.slice('rename to '.length)
    file.status = 'renamed'
  } else if (line.startsWith('Binary files ') || line.startsWith('GIT binary patch')) {
    file.status = 'binary'
  } else if (line.startsWith('--- a/')) file.oldPath = line.slice('--- a/'.length)
  else if (line.startsWith('+++ b/')) file.path = line.slice('+++ b/'.length)
}
