import type { PlanItem } from '~/api/types'
import { Icon, type IconName } from '~/ui/Icon'

const MARKS: Readonly<Record<string, { icon: IconName; word: string }>> = {
  completed: { icon: 'check', word: 'done' },
  in_progress: { icon: 'half', word: 'now' },
  pending: { icon: 'ring', word: 'to come' },
}
const UNKNOWN = { icon: 'ring', word: '' } as const

/** The coding agent's plan, in sight while its ticks come. */
export function PlanPanel({ plan }: { plan: PlanItem }) {
  const nDone = plan.entries.filter((entry) => entry.status === 'completed').length
  const current = plan.entries.find((entry) => entry.status === 'in_progress')
  return (
    <details className="plan" open={nDone < plan.entries.length}>
      <summary>
        <Icon name="chevron" className="twist" />
        <strong>Plan</strong>
        <span className="plan-count">
          {nDone} of {plan.entries.length}
        </span>
        <progress value={nDone} max={plan.entries.length} aria-label="Plan" />
        {current !== undefined && <span className="soft plan-current">{current.content}</span>}
      </summary>
      <ul className="plan-list">
        {plan.entries.map((entry, index) => {
          const mark = MARKS[entry.status] ?? UNKNOWN
          return (
            // Entries have no ids; the plan is replaced as a whole, in its order.
            <li key={index} className={`plan-entry plan-${entry.status}`}>
              <Icon name={mark.icon} />
              <span>
                {entry.content}
                <span className="sr-only">, {mark.word}</span>
              </span>
            </li>
          )
        })}
      </ul>
    </details>
  )
}
