import { type InputHTMLAttributes, type ReactNode, useId } from 'react'

/** A labelled line of text. */
export function TextField({
  label,
  hint,
  problem,
  ...input
}: {
  label: string
  hint?: ReactNode
  problem?: string | undefined
} & InputHTMLAttributes<HTMLInputElement>) {
  const id = useId()
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input
        {...input}
        id={id}
        aria-describedby={`${id}-hint`}
        aria-invalid={problem !== undefined || undefined}
      />
      <div id={`${id}-hint`} className="field-hint">
        {problem !== undefined && <p className="tone-bad">{problem}</p>}
        {hint}
      </div>
    </div>
  )
}

export interface Option {
  value: string
  label: string
  isBlocked?: boolean
}

/** A labelled choice. The browser's own control: it is right on every phone. */
export function SelectField({
  label,
  value,
  options,
  onChange,
  hint,
  isCompact = false,
}: {
  label: string
  value: string
  options: Option[]
  onChange: (value: string) => void
  hint?: ReactNode
  isCompact?: boolean
}) {
  const id = useId()
  return (
    <div className={isCompact ? 'field field-compact' : 'field'}>
      <label htmlFor={id}>{label}</label>
      <select id={id} value={value} onChange={(event) => onChange(event.target.value)}>
        {options.map((option) => (
          <option key={option.value} value={option.value} disabled={option.isBlocked}>
            {option.label}
          </option>
        ))}
      </select>
      {hint !== undefined && <div className="field-hint">{hint}</div>}
    </div>
  )
}

/** One of a few, all in sight. */
export function Choice({
  legend,
  value,
  options,
  onChange,
}: {
  legend: string
  value: string
  options: Option[]
  onChange: (value: string) => void
}) {
  const name = useId()
  return (
    <fieldset className="choice">
      <legend>{legend}</legend>
      <div className="choice-row">
        {options.map((option) => (
          <label key={option.value}>
            <input
              type="radio"
              name={name}
              checked={option.value === value}
              onChange={() => onChange(option.value)}
            />
            <span>{option.label}</span>
          </label>
        ))}
      </div>
    </fieldset>
  )
}
