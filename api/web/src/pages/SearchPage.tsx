import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link, useLocation } from 'react-router'
import { hasWords, projectsQuery, searchQuery } from '~/api/queries'
import type { SearchHit } from '~/api/types'
import { Snippet } from '~/components/Snippet'
import { useSettled } from '~/lib/useSettled'
import { useWrittenAddress } from '~/lib/useWrittenAddress'
import { ERASED } from '~/lib/words'
import { paths } from '~/paths'
import { Button } from '~/ui/Button'
import { Ago } from '~/ui/Elapsed'
import { SelectField } from '~/ui/Field'
import { Icon } from '~/ui/Icon'
import { EmptyState, ProblemNote, Waiting } from '~/ui/Notes'
import { Page } from '~/ui/Page'
import '~/pages/log.css'

const REST_MS = 200

/** Everything that was said, found by its words. */
export function SearchPage() {
  const { key, search } = useLocation()
  const query = new URLSearchParams(search)
  return <Search key={key} initialText={query.get('q') ?? ''} initialProject={query.get('project') ?? ''} />
}

function Search({ initialText, initialProject }: { initialText: string; initialProject: string }) {
  const [text, setText] = useState(initialText)
  const [project, setProject] = useState(initialProject)
  const projects = useQuery(projectsQuery).data ?? []
  useWrittenAddress(paths.search(text, project))
  const asked = useSettled(text.trim(), REST_MS)
  const found = useInfiniteQuery(searchQuery(asked, project))
  const names = new Map(projects.map(({ id, name }) => [id, name]))
  const hits = hasWords(asked) ? (found.data?.pages.flatMap((page) => page.hits) ?? []) : []
  return (
    <Page title="Search">
      <form className="search-form" role="search" onSubmit={(event) => event.preventDefault()}>
        <label className="search-field">
          <Icon name="search" />
          <span className="sr-only">Search all conversations</span>
          {/* eslint-disable-next-line jsx-a11y/no-autofocus -- whoever comes here comes to type */}
          <input type="search" autoFocus placeholder="Words that were said" value={text} onChange={({ target }) => setText(target.value)} />
        </label>
        <SelectField
          label="In"
          isCompact
          value={project}
          options={[{ value: '', label: 'All projects' }, ...projects.map(({ id, name }) => ({ value: id, label: name }))]}
          onChange={setProject}
        />
      </form>
      <ProblemNote error={found.error} retry={() => void found.refetch()} />
      {!hasWords(asked) && (
        <EmptyState icon="search" title="Find what was said">
          <p>In running and ended conversations, by you and by agents. All words have to occur; of the last one its beginning is enough.</p>
        </EmptyState>
      )}
      {hasWords(asked) && found.isPending && <Waiting>Searching for “{asked}”</Waiting>}
      {hasWords(asked) && found.isSuccess && hits.length === 0 && <p className="soft">Nobody said that{project === '' ? '' : ' in this project'}.</p>}
      {hits.length > 0 && (
        <ul className="lines" aria-label="Found messages" aria-busy={found.isPlaceholderData}>
          {hits.map((hit) => (
            <Hit key={hit.message} hit={hit} project={names.get(hit.project) ?? ''} />
          ))}
        </ul>
      )}
      {hits.length > 0 && found.hasNextPage && (
        <p>
          <Button
            icon="down"
            blockedBy={found.isFetchingNextPage ? 'Older messages are being searched' : undefined}
            onClick={() => void found.fetchNextPage()}
          >
            {found.isFetchingNextPage ? 'Searching older messages' : 'Show older'}
          </Button>
        </p>
      )}
    </Page>
  )
}

function Hit({ hit, project }: { hit: SearchHit; project: string }) {
  return (
    <li>
      <Link className="hit" to={paths.message(hit.project, hit.session, hit.message, hit.position)} data-nav>
        <span className="hit-head">
          <strong className="hit-title">{hit.sessionTitle || ERASED}</strong>
          <span className="soft">
            {project}
            {project === '' ? '' : ', '}
            {hit.role === 'user' ? 'you' : 'agent'}, <Ago at={hit.at} />
          </span>
        </span>
        <span className="hit-text">
          <Snippet parts={hit.snippet} />
        </span>
      </Link>
    </li>
  )
}
