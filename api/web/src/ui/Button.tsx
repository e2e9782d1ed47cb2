import type { ButtonHTMLAttributes } from 'react'
import { Link, type LinkProps } from 'react-router'
import { Icon, type IconName } from '~/ui/Icon'

type Look = 'primary' | 'normal' | 'quiet' | 'danger'

interface Own {
  look?: Look
  icon?: IconName
  /** Why it cannot be pressed; shown and announced instead of a dead button. */
  blockedBy?: string | undefined
}

export function Button({
  look = 'normal',
  icon,
  blockedBy,
  className = '',
  children,
  onClick,
  type = 'button',
  ...rest
}: Own & ButtonHTMLAttributes<HTMLButtonElement>) {
  const isBlocked = blockedBy !== undefined
  return (
    <button
      {...rest}
      type={type}
      className={`button button-${look} ${className}`}
      aria-disabled={isBlocked || undefined}
      title={blockedBy ?? rest.title}
      onClick={(event) => {
        if (isBlocked) event.preventDefault()
        else onClick?.(event)
      }}
    >
      {icon !== undefined && <Icon name={icon} />}
      {children}
    </button>
  )
}

/** A button with a picture only; `label` is its name. */
export function IconButton({
  icon,
  label,
  className = '',
  ...rest
}: { icon: IconName; label: string } & ButtonHTMLAttributes<HTMLButtonElement>) {
  return (
    <button
      type="button"
      {...rest}
      className={`button button-quiet icon-button ${className}`}
      aria-label={label}
      title={rest.title ?? label}
    >
      <Icon name={icon} />
    </button>
  )
}

export function LinkButton({
  look = 'normal',
  icon,
  className = '',
  children,
  ...rest
}: { look?: Look; icon?: IconName } & LinkProps) {
  return (
    <Link {...rest} className={`button button-${look} ${className}`}>
      {icon !== undefined && <Icon name={icon} />}
      {children}
    </Link>
  )
}
