import type { ReactNode } from 'react'
import { Button } from '~/ui/Button'
import { Icon, type IconName } from '~/ui/Icon'

/** Something is being waited for, and this is what. There is no spinner without a reason. */
export function Waiting({ children }: { children: ReactNode }) {
  return (
    <p className="waiting" role="status">
      <span className="spinner" aria-hidden="true" />
      {children}
    </p>
  )
}

/** Something did not work: what it was, and what to do. */
export function ProblemNote({ error, retry }: { error: Error | null; retry?: () => void }) {
  if (error === null) return null
  return (
    <div className="note note-bad" role="alert">
      <Icon name="hand" />
      <p>{error.message}</p>
      {retry !== undefined && (
        <Button icon="retry" onClick={retry}>
          Try again
        </Button>
      )}
    </div>
  )
}

export function Note({
  tone = 'muted',
  icon = 'hand',
  children,
}: {
  tone?: 'muted' | 'wait' | 'good' | 'busy'
  icon?: IconName
  children: ReactNode
}) {
  return (
    <div className={`note note-${tone}`}>
      <Icon name={icon} />
      <div>{children}</div>
    </div>
  )
}

/** Nothing is here yet: what will be, and the one thing to do about it. */
export function EmptyState({
  icon,
  title,
  children,
  action,
}: {
  icon: IconName
  title: string
  children: ReactNode
  action?: ReactNode
}) {
  return (
    <section className="empty">
      <Icon name={icon} className="icon-large" />
      <h2>{title}</h2>
      <div className="empty-text">{children}</div>
      {action}
    </section>
  )
}
