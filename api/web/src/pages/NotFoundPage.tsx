import { paths } from '~/paths'
import { LinkButton } from '~/ui/Button'
import { EmptyState } from '~/ui/Notes'
import { Page } from '~/ui/Page'

export function NotFoundPage() {
  return (
    <Page title="Not found">
      <EmptyState
        icon="search"
        title="There is no such page"
        action={
          <LinkButton look="primary" to={paths.dashboard()}>
            To the dashboard
          </LinkButton>
        }
      >
        <p>The address may be mistyped, or what it named was deleted.</p>
      </EmptyState>
    </Page>
  )
}
