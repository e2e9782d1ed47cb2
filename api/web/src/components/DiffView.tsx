import { useId, useState } from 'react'
import { type DiffFile, type DiffLine, parseDiff } from '~/lib/diff'
import { count } from '~/lib/words'
import { matches } from '~/lib/search'
import { Icon } from '~/ui/Icon'
import { Note } from '~/ui/Notes'

const OPEN_LINES_MAX = 400

/** A unified diff with its files beside it. */
export function DiffView({ diff, isCut }: { diff: string; isCut: boolean }) {
  const files = parseDiff(diff)
  const [search, setSearch] = useState('')
  const id = useId()
  if (files.length === 0) return <p className="soft">No changes.</p>
  const shown = files.filter((file) => matches(search, file.path))
  return (
    <div className="diff">
      <nav className="diff-files" aria-label="Changed files">
        {files.length > 6 && (
          <input
            type="search"
            aria-label="Find a file"
            placeholder="Find a file"
            value={search}
            onChange={(event) => setSearch(event.target.value)}
          />
        )}
        <ul>
          {shown.map((file) => (
            <li key={file.path}>
              <a href={`#${anchorOf(id, file)}`} data-nav onClick={(event) => reveal(event, anchorOf(id, file))}>
                <Path path={file.path} />
                <Counts added={file.added} removed={file.removed} />
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <div className="diff-bodies">
        {isCut && <Note tone="wait">The diff is longer than 1 MiB and was cut. The branch has all of it.</Note>}
        {shown.map((file) => (
          <FileDiff key={file.path} id={anchorOf(id, file)} file={file} />
        ))}
      </div>
    </div>
  )
}

function FileDiff({ id, file }: { id: string; file: DiffFile }) {
  const nLines = file.hunks.reduce((sum, hunk) => sum + hunk.lines.length, 0)
  return (
    <details className="diff-file" id={id} open={nLines <= OPEN_LINES_MAX}>
      <summary>
        <Icon name="chevron" className="twist" />
        <span className="diff-path">
          {file.status === 'renamed' ? `${file.oldPath} → ${file.path}` : file.path}
        </span>
        {file.status !== 'changed' && <span className="diff-status">{file.status}</span>}
        <Counts added={file.added} removed={file.removed} />
      </summary>
      {file.hunks.map((hunk) => (
        <div key={hunk.header}>
          <p className="hunk-head">{hunk.header}</p>
          <DiffLines lines={hunk.lines} />
        </div>
      ))}
      {file.hunks.length === 0 && (
        <p className="hunk-head">
          {file.status === 'binary' ? 'A binary file: its content is not shown.' : 'No lines changed.'}
        </p>
      )}
    </details>
  )
}

/** Lines of a diff; the sign is a character, so that colour is not alone. */
export function DiffLines({ lines }: { lines: readonly DiffLine[] }) {
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a region that scrolls must be reachable by keyboard
    <div className="diff-scroll" tabIndex={0} role="region" aria-label="Changed lines">
      <table className="diff-lines">
        <tbody>
          {lines.map((line, index) => (
            // Lines have no identity but their place.
            <tr key={index} className={`diff-${line.kind}`}>
              <td className="diff-number">{line.oldNumber}</td>
              <td className="diff-number">{line.newNumber}</td>
              <td className="diff-sign">{SIGNS[line.kind]}</td>
              <td className="diff-text">{line.text}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

const SIGNS = { same: ' ', added: '+', removed: '−', note: '' } satisfies Record<DiffLine['kind'], string>

export function Counts({ added, removed }: { added: number; removed: number }) {
  return (
    <span className="diff-counts">
      <span className="tone-good">+{added}</span> <span className="tone-bad">−{removed}</span>
      <span className="sr-only">
        {count(added, 'line')} added, {removed} removed
      </span>
    </span>
  )
}

function Path({ path }: { path: string }) {
  const cut = path.lastIndexOf('/') + 1
  return (
    <span className="file-path" title={path}>
      <span className="soft">{path.slice(0, cut)}</span>
      {path.slice(cut)}
    </span>
  )
}

function anchorOf(id: string, file: DiffFile): string {
  return `${id}${file.path}`
}

function reveal(event: { preventDefault: () => void }, id: string): void {
  event.preventDefault()
  const file = document.getElementById(id)
  if (file instanceof HTMLDetailsElement) file.open = true
  file?.scrollIntoView({ block: 'start' })
  file?.querySelector('summary')?.focus({ preventScroll: true })
}
