import { type ButtonHTMLAttributes, cloneElement, lazy, type ReactElement, Suspense, useState } from 'react'

export interface MenuEntry {
  label: string
  act: () => void
}

export const fetchMenuList = async () => ({ default: (await import('~/ui/MenuList')).MenuList })
const MenuList = lazy(fetchMenuList)

/** A menu behind a button. */
export function Menu({
  trigger,
  entries,
}: {
  trigger: ReactElement<ButtonHTMLAttributes<HTMLButtonElement>>
  entries: MenuEntry[]
}) {
  const [isWanted, setIsWanted] = useState(false)
  const closed = cloneElement(trigger, {
    'aria-haspopup': 'menu',
    'aria-expanded': false,
    onClick: () => setIsWanted(true),
  })
  if (!isWanted) return closed
  return (
    <Suspense fallback={closed}>
      <MenuList trigger={trigger} entries={entries} />
    </Suspense>
  )
}
