// What this browser remembers: drafts, the theme, what was read. Never anything secret.

import { useCallback, useSyncExternalStore } from 'react'

const listeners = new Set<() => void>()

/** A remembered text; empty when there is none or storage is switched off. */
export function remembered(name: string): string {
  try {
    return localStorage.getItem(`sam.${name}`) ?? ''
  } catch {
    return ''
  }
}

export function remember(name: string, value: string): void {
  try {
    if (value === '') localStorage.removeItem(`sam.${name}`)
    else localStorage.setItem(`sam.${name}`, value)
  } catch {
    // Storage is switched off or full: the page works, it only forgets.
  }
  for (const listener of listeners) listener()
}

export function useRemembered(name: string): [string, (value: string) => void] {
  const value = useSyncExternalStore(subscribe, () => remembered(name))
  const change = useCallback((next: string) => remember(name, next), [name])
  return [value, change]
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  window.addEventListener('storage', listener)
  return () => {
    listeners.delete(listener)
    window.removeEventListener('storage', listener)
  }
}
