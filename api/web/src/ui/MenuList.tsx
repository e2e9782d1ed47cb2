import * as Radix from '@radix-ui/react-dropdown-menu'
import type { ReactElement } from 'react'
import type { MenuEntry } from '~/ui/Menu'

/** The opened menu: a file of its own, since most pages are left without opening one. */
export function MenuList({ trigger, entries }: { trigger: ReactElement; entries: MenuEntry[] }) {
  return (
    <Radix.Root defaultOpen>
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
