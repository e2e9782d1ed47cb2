import { useEffect } from 'react'
import { useSettled } from '~/lib/useSettled'

/** While somebody types or drags, only where they rest becomes the page's address. */
const REST_MS = 150

/**
 * Keeps the address bar at `address`, without a stop in the history.
 *
 * What is typed or dragged is the page's own state: through the router it would come back a moment late, and fields
 * would lose what was typed meanwhile. A page begins from its address, so each visit of the router's makes it anew.
 */
export function useWrittenAddress(address: string): void {
  const settled = useSettled(address, REST_MS)
  // The address bar is the browser's.
  useEffect(() => {
    if (`${window.location.pathname}${window.location.search}` === settled) return
    window.history.replaceState(window.history.state, '', settled)
  }, [settled])
}
