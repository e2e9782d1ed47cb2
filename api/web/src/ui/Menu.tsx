import * as Radix from '@radix-ui/react-dropdown-menu'
import type { ReactElement } from 'react'

export interface MenuEntry {
  label: string
  act: () => void
}

/** A menu behind a button. */
export function Menu({ trigger, entries }: { trigger: ReactElement; entries: MenuEntry[] }) {
  return (
    <Radix.Root>
      <Radix.Trigger asChild>{trigger}</Radix.Trigger>
      <Radix.Portal>
        <Radix.Content className="menu" align="end" sideOffset={4} collisionPadding={8}>
          {entries.map(({ label, act }) => (
            <Radix.Item key={label} className="menu-item" onSelect={act}>
              {label}
            </Radix.Item>
          ))}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  )
}
