import type { Execution, Step, StepState } from '~/api/types'
import { duration, msBetween } from '~/lib/time'
import { STEPS } from '~/lib/words'
import { Elapsed } from '~/ui/Elapsed'
import { Icon, type IconName } from '~/ui/Icon'

const MARKS = {
  pending: { icon: 'ring', word: 'to come' },
  active: { icon: 'half', word: 'now' },
  done: { icon: 'check', word: 'done' },
  failed: { icon: 'cross', word: 'failed' },
  skipped: { icon: 'dash', word: 'not needed' },
} satisfies Record<StepState, { icon: IconName; word: string }>

/** How far an execution has come: open while something is prepared, one line afterwards. */
export function StepsStrip({ execution }: { execution: Execution }) {
  const isPreparing = isOnTheWay(execution) && execution.step !== 'running'
  const isStuck = execution.state === 'failed' && execution.step !== 'running'
  return (
    // The key opens and closes it when the phase changes; in between it is the person's.
    <details className="steps" key={String(isPreparing || isStuck)} open={isPreparing || isStuck}>
      <summary>
        <Icon name="chevron" className="twist" />
        <StepsSummary execution={execution} />
      </summary>
      <StepList steps={execution.steps} />
    </details>
  )
}

export function StepList({ steps }: { steps: readonly Step[] }) {
  return (
    <ol className="step-list" aria-label="Steps">
      {steps.map((step) => (
        <StepRow key={step.step} step={step} />
      ))}
    </ol>
  )
}

function StepsSummary({ execution }: { execution: Execution }) {
  const { steps, step, reason } = execution
  const current = steps.find((candidate) => candidate.step === step)
  if (isOnTheWay(execution) && step !== 'running') {
    const n = steps.findIndex((candidate) => candidate.step === step) + 1
    return (
      <span>
        <strong>{STEPS[step]}</strong> <span className="soft">({n} of {steps.length})</span>
        {reason ? <span className="soft"> · {reason}</span> : null}
      </span>
    )
  }
  const running = steps.find((candidate) => candidate.step === 'running')
  const [from, to] = [steps[0]?.startedAt, running?.startedAt]
  if (from && to) {
    return (
      <span>
        Prepared in {duration(msBetween(from, to))}
        {running?.startedAt && (
          <span className="soft">
            {' · '}
            {running.endedAt ? 'ran for ' : 'running for '}
            <Elapsed from={running.startedAt} to={running.endedAt ?? execution.endedAt} />
          </span>
        )}
      </span>
    )
  }
  return <span>{current?.state === 'failed' ? `${STEPS[step]} failed` : 'Steps'}</span>
}

function StepRow({ step }: { step: Step }) {
  const mark = MARKS[step.state]
  return (
    <li className={`step step-${step.state}`} aria-current={step.state === 'active' ? 'step' : undefined}>
      <Icon name={mark.icon} />
      <span className="step-name">
        {STEPS[step.step]}
        <span className="sr-only">, {mark.word}</span>
      </span>
      <span className="step-reason">{step.reason ?? (step.state === 'skipped' ? mark.word : '')}</span>
      {step.startedAt && step.state !== 'pending' && step.state !== 'skipped' ? (
        <Elapsed from={step.startedAt} to={step.endedAt} />
      ) : null}
    </li>
  )
}

function isOnTheWay(execution: Execution): boolean {
  return execution.state === 'running' || execution.state === 'waiting'
}
