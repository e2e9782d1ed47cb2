import { type ReactNode, useEffect } from 'react'

/** A page's head and body. The title is also the tab's. */
export function Page({
  title,
  lead,
  actions,
  isWide = false,
  children,
}: {
  title: string
  lead?: ReactNode
  actions?: ReactNode
  isWide?: boolean
  children: ReactNode
}) {
  useTitle(title)
  return (
    <div className={isWide ? 'page page-wide' : 'page'}>
      <header className="page-head">
        <div className="page-title">
          <h1>{title}</h1>
          {lead !== undefined && <div className="page-lead">{lead}</div>}
        </div>
        {actions !== undefined && <div className="page-actions">{actions}</div>}
      </header>
      {children}
    </div>
  )
}

export function useTitle(title: string): void {
  // The tab's title is outside React's tree.
  useEffect(() => {
    document.title = title === 'SAM' ? 'SAM' : `${title} · SAM`
  }, [title])
}
