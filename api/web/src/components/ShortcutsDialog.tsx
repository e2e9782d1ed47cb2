import { modName, type Shortcut } from '~/lib/shortcuts'
import { Dialog } from '~/ui/Dialog'

/** Those that belong to one place rather than to the page. */
const LOCAL = [
  { keys: 'mod+Enter', label: 'Send what is in the composer' },
  { keys: '[', label: 'On the board: move the idea one stage left' },
  { keys: ']', label: 'On the board: move the idea one stage right' },
  { keys: 'x', label: 'On the board: execute the idea' },
  { keys: '/', label: 'On the board: search' },
]

export function ShortcutsDialog({
  isOpen,
  onClose,
  shortcuts,
}: {
  isOpen: boolean
  onClose: () => void
  shortcuts: readonly Shortcut[]
}) {
  return (
    <Dialog isOpen={isOpen} onClose={onClose} title="Keyboard shortcuts">
      <ShortcutTable shortcuts={[...shortcuts, ...LOCAL]} />
    </Dialog>
  )
}

export function ShortcutTable({ shortcuts }: { shortcuts: readonly Omit<Shortcut, 'act'>[] }) {
  return (
    <table className="shortcuts">
      <thead className="sr-only">
        <tr>
          <th>Does</th>
          <th>Keys</th>
        </tr>
      </thead>
      <tbody>
        {shortcuts.map(({ keys, label }) => (
          <tr key={keys}>
            <td>{label}</td>
            <td>
              {keys.split(/[ +]/).map((key) => (
                <kbd key={key}>{key === 'mod' ? modName() : key}</kbd>
              ))}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}
