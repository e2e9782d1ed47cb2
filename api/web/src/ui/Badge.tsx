import type { Tone } from '~/lib/words'
import { Icon, type IconName } from '~/ui/Icon'

/** A shape for each tone, so that colour is never the only sign. */
const SHAPES = {
  good: 'check',
  busy: 'half',
  wait: 'hand',
  bad: 'cross',
  muted: 'dash',
} satisfies Record<Tone, IconName>

export function Badge({ tone, children }: { tone: Tone; children: string }) {
  return (
    <span className={`badge badge-${tone}`}>
      <Icon name={SHAPES[tone]} />
      {children}
    </span>
  )
}

/** The same sign without its word, for dense lists; the word is there for screen readers and as a tooltip. */
export function StateDot({ tone, label }: { tone: Tone; label: string }) {
  return (
    <span className={`state-dot tone-${tone}`} title={label}>
      <Icon name={SHAPES[tone]} />
      <span className="sr-only">{label}</span>
    </span>
  )
}
