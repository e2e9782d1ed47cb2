import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useLocation } from 'react-router'
import { auditEntriesQuery, projectsQuery } from '~/api/queries'
import { AuditHeadsCard } from '~/components/AuditHeadsCard'
import { AuditTable } from '~/components/AuditTable'
import { SettingsTabs } from '~/components/SettingsTabs'
import { type AuditField, type AuditFilter, auditQuery, filterIn } from '~/lib/auditFilter'
import { useSettled } from '~/lib/useSettled'
import { useWrittenAddress } from '~/lib/useWrittenAddress'
import { endpoints, paths } from '~/paths'
import { Button } from '~/ui/Button'
import { SelectField, TextField } from '~/ui/Field'
import { Icon } from '~/ui/Icon'
import { ProblemNote, Waiting } from '~/ui/Notes'
import { Page } from '~/ui/Page'
import '~/pages/log.css'

/** Aggregates first, then processes. */
const KINDS = [
  'account', 'project', 'idea', 'execution', 'session', 'node', 'workspace', 'credential',
  'run_execution', 'open_workspace', 'close_workspace', 'retire_node', 'erase_project',
  'erase_account', 'title_idea',
]

/** Reading the log costs something: it waits until somebody has finished a word. */
const REST_MS = 250

/** Who did what when, over the whole log, and whether the log is what it was. */
export function AuditPage() {
  const { key, search } = useLocation()
  return <Audit key={key} from={filterIn(new URLSearchParams(search))} />
}

function Audit({ from }: { from: AuditFilter }) {
  const [filter, setFilter] = useState(from)
  useWrittenAddress(paths.audit(filter))
  const query = auditQuery(useSettled(filter, REST_MS))
  const audit = useInfiniteQuery(auditEntriesQuery(query.toString()))
  const projects = useQuery(projectsQuery).data ?? []
  const entries = audit.data?.pages.flatMap((page) => page.entries) ?? []
  const change = (field: AuditField, value: string) => {
    const { [field]: _, ...others } = filter
    setFilter(value.trim() === '' ? others : { ...others, [field]: value })
  }
  const isFiltered = Object.keys(filter).length > 0
  return (
    <Page
      title="Audit"
      actions={
        <>
          <Download query={query} format="csv" />
          <Download query={query} format="ndjson" />
        </>
      }
    >
      <SettingsTabs />
      <AuditHeadsCard />
      <section aria-label="Filter" className="audit-filter">
        <TextField label="Who" value={filter.actor ?? ''} onChange={({ target }) => change('actor', target.value)} />
        <SelectField
          label="Kind"
          value={filter.kind ?? ''}
          options={[{ value: '', label: 'All' }, ...KINDS.map((kind) => ({ value: kind, label: kind.replaceAll('_', ' ') }))]}
          onChange={(value) => change('kind', value)}
        />
        <TextField label="Event" value={filter.event ?? ''} onChange={({ target }) => change('event', target.value)} />
        <SelectField
          label="Project"
          value={filter.project ?? ''}
          options={[{ value: '', label: 'All' }, ...projects.map(({ id, name }) => ({ value: id, label: name }))]}
          onChange={(value) => change('project', value)}
        />
        <TextField label="From" type="date" value={filter.from ?? ''} onChange={({ target }) => change('from', target.value)} />
        <TextField label="Until" type="date" value={filter.until ?? ''} onChange={({ target }) => change('until', target.value)} />
        {isFiltered && (
          <Button look="quiet" icon="cross" onClick={() => setFilter({})}>
            Clear
          </Button>
        )}
      </section>
      <section aria-label="Events">
        <ProblemNote error={audit.error} retry={() => void audit.refetch()} />
        {audit.isPending && <Waiting>Reading the log</Waiting>}
        {audit.isSuccess && entries.length === 0 && (
          <p className="soft">{isFiltered ? 'Nothing matches this filter.' : 'Nothing is recorded yet.'}</p>
        )}
        {entries.length > 0 && (
          <AuditTable entries={entries} projects={projects} isOld={audit.isPlaceholderData} filterBy={change} />
        )}
        {audit.hasNextPage && (
          <p>
            <Button
              icon="down"
              blockedBy={audit.isFetchingNextPage ? 'Older events are being read' : undefined}
              onClick={() => void audit.fetchNextPage()}
            >
              {audit.isFetchingNextPage ? 'Reading older events' : 'Show older'}
            </Button>
          </p>
        )}
      </section>
    </Page>
  )
}

/** All of what the filter finds, not only what is on the page; the browser saves it as it comes. */
function Download({ query, format }: { query: URLSearchParams; format: 'csv' | 'ndjson' }) {
  const address = `${endpoints.auditExport()}?${new URLSearchParams({ ...Object.fromEntries(query), format })}`
  return (
    <a className="button button-normal" href={address} download>
      <Icon name="down" />
      {format.toUpperCase()}
      <span className="sr-only"> of all that the filter finds</span>
    </a>
  )
}
