import { useRouteError } from 'react-router'
import { paths } from '~/paths'
import { Button } from '~/ui/Button'
import { EmptyState } from '~/ui/Notes'

/** A mistake of ours on this page. Nothing the person did is lost: the page holds no state of its own. */
export function ErrorPage() {
  const error = useRouteError()
  const detail = error instanceof Error ? error.message : 'No more is known.'
  return (
    <div className="page">
      <EmptyState
        icon="hand"
        title="This page broke"
        action={
          <div className="empty-actions">
            <Button look="primary" icon="retry" onClick={() => location.reload()}>
              Load it again
            </Button>
            <a href={paths.dashboard()}>To the dashboard</a>
          </div>
        }
      >
        <p>
          It is a mistake in SAM’s web page. Your ideas go on: they do not run in the browser, and
          what you typed is kept.
        </p>
        <p>
          <code>{detail}</code>
        </p>
      </EmptyState>
    </div>
  )
}
