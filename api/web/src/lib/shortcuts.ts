// Keys that work wherever one is on the page.

import { useEffect } from 'react'

export interface Shortcut {
  /** `mod+k`, `?`, or two keys one after the other: `g d`. */
  keys: string
  label: string
  act: () => void
}

const CHORD_PERIOD_MS = 1_000

/** What a key press is called in a shortcut. */
export function keyName(event: Pick<KeyboardEvent, 'key' | 'metaKey' | 'ctrlKey'>): string {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key
  return event.metaKey || event.ctrlKey ? `mod+${key}` : key
}

export function useShortcuts(shortcuts: readonly Shortcut[]): void {
  // Key presses outside any field belong to the page; React has no element to listen on.
  useEffect(() => {
    let first = ''
    let firstAt = 0
    const onKey = (event: KeyboardEvent) => {
      const key = keyName(event)
      if (event.altKey || event.defaultPrevented) return
      if (!key.startsWith('mod+') && (isTyping(event.target) || isInDialog(event.target))) return
      const chord = event.timeStamp - firstAt < CHORD_PERIOD_MS ? `${first} ${key}` : key
      const match =
        shortcuts.find((shortcut) => shortcut.keys === chord) ??
        shortcuts.find((shortcut) => shortcut.keys === key)
      first = match === undefined ? key : ''
      firstAt = event.timeStamp
      if (match === undefined) return
      event.preventDefault()
      match.act()
    }
    window.addEventListener('keydown', onKey)
    return () => window.removeEventListener('keydown', onKey)
  }, [shortcuts])
}

/** Moves the focus among the page's list entries (`data-nav`). */
export function focusNeighbour(step: 1 | -1): void {
  const entries = [...document.querySelectorAll<HTMLElement>('[data-nav]')].filter(
    (entry) => entry.offsetParent !== null,
  )
  const index = entries.findIndex((entry) => entry === document.activeElement)
  const start = step === 1 ? 0 : entries.length - 1
  const next = index === -1 ? entries[start] : entries[index + step]
  next?.focus()
  next?.scrollIntoView({ block: 'nearest' })
}

export function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName))
  )
}

/** The key as this keyboard calls it. */
export function modName(): string {
  return /Mac|iPhone|iPad/.test(navigator.userAgent) ? '⌘' : 'Ctrl'
}

function isInDialog(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest('[role="dialog"]') !== null
}
