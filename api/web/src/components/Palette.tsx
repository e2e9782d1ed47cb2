import { useInfiniteQuery, useQueries, useQuery } from '@tanstack/react-query'
import { type KeyboardEvent, useId, useState } from 'react'
import { useNavigate } from 'react-router'
import { hasWords, ideasQuery, projectsQuery, searchQuery } from '~/api/queries'
import { paths } from '~/paths'
import { STAGES } from '~/lib/words'
import { plainText } from '~/lib/plainText'
import { matches } from '~/lib/search'
import { THEMES, useTheme } from '~/lib/theme'
import { useSettled } from '~/lib/useSettled'
import { Dialog } from '~/ui/Dialog'
import { Icon, type IconName } from '~/ui/Icon'

interface Entry {
  id: string
  label: string
  hint: string
  icon: IconName
  act: () => void
}

const SHOWN_MAX = 12
const HITS_MAX = 5
const SEARCHED_FROM = 3
const REST_MS = 200

/** Everything there is to go to or do, found by typing. */
export function Palette({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }) {
  return (
    <Dialog isOpen={isOpen} onClose={onClose} title="Command palette" isTitleHidden side="top">
      <PaletteBody onClose={onClose} />
    </Dialog>
  )
}

function PaletteBody({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState('')
  const [chosen, setChosen] = useState(0)
  const id = useId()
  const named = useEntries()
    .filter((entry) => matches(text, `${entry.label} ${entry.hint}`))
    .slice(0, SHOWN_MAX)
  const entries = [...named, ...useFound(text.trim())]
  const current = Math.min(chosen, Math.max(0, entries.length - 1))
  const choose = (entry: Entry | undefined) => {
    if (entry === undefined) return
    onClose()
    entry.act()
  }
  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0
    if (step !== 0) {
      event.preventDefault()
      setChosen((current + step + entries.length) % Math.max(1, entries.length))
    } else if (event.key === 'Enter') {
      event.preventDefault()
      choose(entries[current])
    }
  }
  return (
    <div className="palette">
      <input
        type="text"
        role="combobox"
        aria-label="Search or jump to"
        aria-expanded="true"
        aria-controls={`${id}-list`}
        aria-activedescendant={entries[current] === undefined ? undefined : `${id}-${current}`}
        placeholder="Project, idea, page, or what was said…"
        value={text}
        onChange={(event) => {
          setText(event.target.value)
          setChosen(0)
        }}
        onKeyDown={onKeyDown}
      />
      <div className="palette-list" id={`${id}-list`} role="listbox" aria-label="Results">
        {entries.map((entry, index) => (
          // Keys go to the field above, which owns the list; the entries take clicks only.
          // eslint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/interactive-supports-focus
          <div
            key={entry.id}
            id={`${id}-${index}`}
            role="option"
            aria-selected={index === current}
            onClick={() => choose(entry)}
            onPointerMove={() => setChosen(index)}
          >
            <Icon name={entry.icon} />
            <span className="palette-label">{entry.label}</span>
            <span className="palette-hint">{entry.hint}</span>
          </div>
        ))}
      </div>
      {entries.length === 0 && <p className="palette-none">Nothing is called that.</p>}
    </div>
  )
}

/** What was said in conversations, and the page that shows all of it. */
function useFound(text: string): Entry[] {
  const navigate = useNavigate()
  const asked = useSettled(text, REST_MS)
  const found = useInfiniteQuery({ ...searchQuery(asked, ''), enabled: asked.length >= SEARCHED_FROM && hasWords(asked) })
  if (!hasWords(text)) return []
  const hits = asked === text && text.length >= SEARCHED_FROM ? (found.data?.pages[0]?.hits ?? []) : []
  return [
    ...hits.slice(0, HITS_MAX).map<Entry>((hit) => ({
      id: `m-${hit.message}`,
      label: plainText(hit.snippet.map((part) => part.text).join(' ')),
      hint: `said in ${hit.sessionTitle}`,
      icon: 'chat',
      act: () => void navigate(paths.message(hit.project, hit.session, hit.message, hit.position)),
    })),
    {
      id: 'search',
      label: `Search all conversations for “${text}”`,
      hint: 'search',
      icon: 'search',
      act: () => void navigate(paths.search(text)),
    },
  ]
}

function useEntries(): Entry[] {
  const navigate = useNavigate()
  const projects = useQuery(projectsQuery).data ?? []
  const ideas = useQueries({ queries: projects.map(({ id }) => ideasQuery(id)) })
  const [, setTheme] = useTheme()
  const go = (to: string) => () => void navigate(to)
  return [
    { id: 'new', label: 'New project', hint: 'action', icon: 'plus', act: go(paths.newProject()) },
    ...projects.flatMap<Entry>(({ id, name }) => [
      { id: `p-${id}`, label: name, hint: 'chat', icon: 'chat', act: go(paths.project(id)) },
      { id: `b-${id}`, label: name, hint: 'ideas board', icon: 'board', act: go(paths.ideas(id)) },
      { id: `a-${id}`, label: name, hint: 'activity', icon: 'clock', act: go(paths.activity(id)) },
    ]),
    ...ideas.flatMap(({ data = [] }) =>
      data.map<Entry>((idea) => ({
        id: idea.id,
        label: idea.title,
        hint: `idea, ${STAGES[idea.stage].label}`,
        icon: 'list',
        act: go(
          idea.session ? paths.session(idea.project, idea.session) : paths.ideas(idea.project),
        ),
      })),
    ),
    { id: 'd', label: 'Dashboard', hint: 'page', icon: 'home', act: go(paths.dashboard()) },
    { id: 'ps', label: 'Projects', hint: 'page', icon: 'folder', act: go(paths.projects()) },
    { id: 'n', label: 'Nodes and workspaces', hint: 'page', icon: 'server', act: go(paths.nodes()) },
    { id: 'f', label: 'Search', hint: 'page', icon: 'search', act: go(paths.search()) },
    { id: 'sy', label: 'System', hint: 'page', icon: 'server', act: go(paths.system()) },
    { id: 'a', label: 'Audit', hint: 'page', icon: 'shield', act: go(paths.audit()) },
    { id: 's', label: 'Settings', hint: 'page', icon: 'gear', act: go(paths.settings()) },
    ...THEMES.map<Entry>((theme) => ({
      id: `theme-${theme}`,
      label: `Theme: ${theme}`,
      hint: 'action',
      icon: 'half',
      act: () => setTheme(theme),
    })),
  ]
}
