import { useQuery } from '@tanstack/react-query'
import { Link } from 'react-router'
import { projectionsQuery } from '~/api/queries'
import { paths } from '~/paths'
import { Icon } from '~/ui/Icon'

/** Says on every page that some of what it shows stands still. */
export function ParkedBanner() {
  const parked = (useQuery(projectionsQuery).data?.projections ?? []).filter(({ state }) => state === 'parked')
  return (
    <div role="status">
      {parked.length > 0 && (
        <p className="parked-bar">
          <Icon name="hand" />
          <span>
            {parked.map(({ name }) => name.replaceAll('_', ' ')).join(', ')} {parked.length === 1 ? 'is' : 'are'} parked: what
            it shows may be old. <Link to={paths.system()}>See why</Link>
          </span>
        </p>
      )}
    </div>
  )
}
