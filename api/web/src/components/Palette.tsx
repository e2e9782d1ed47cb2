import { useQueries, useQuery } from '@tanstack/react-query'
import { type KeyboardEvent, useId, useState } from 'react'
import { useNavigate } from 'react-router'
import { ideasQuery, projectsQuery } from '~/api/queries'
import { paths } from '~/paths'
import { STAGES } from '~/lib/words'
import { matches } from '~/lib/search'
import { THEMES, useTheme } from '~/lib/theme'
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
  const entries = useEntries()
    .filter((entry) => matches(text, `${entry.label} ${entry.hint}`))
    .slice(0, SHOWN_MAX)
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
        placeholder="Project, idea, page…"
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
