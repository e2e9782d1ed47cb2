import * as Radix from '@radix-ui/react-dialog'
import type { ReactNode } from 'react'
import { IconButton } from '~/ui/Button'

/** A modal dialog: focus stays inside, Escape closes, focus returns to where it was. */
export function Dialog({
  isOpen,
  onClose,
  title,
  isTitleHidden = false,
  side = 'centre',
  children,
}: {
  isOpen: boolean
  onClose: () => void
  title: string
  isTitleHidden?: boolean
  side?: 'centre' | 'left' | 'top'
  children: ReactNode
}) {
  return (
    <Radix.Root open={isOpen} onOpenChange={(isNowOpen) => !isNowOpen && onClose()}>
      <Radix.Portal>
        <Radix.Overlay className="dialog-scrim" />
        <Radix.Content className={`dialog dialog-${side}`} aria-describedby={undefined}>
          <div className={isTitleHidden ? 'sr-only' : 'dialog-head'}>
            <Radix.Title className="dialog-title">{title}</Radix.Title>
            {!isTitleHidden && <IconButton icon="cross" label="Close" onClick={onClose} />}
          </div>
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  )
}
