import { useEffect, useState } from 'react'

/** A value once it has not changed for a while: for what costs a request. */
export function useSettled<T>(value: T, periodMs: number): T {
  const [settled, setSettled] = useState(value)
  // A timer is outside React.
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), periodMs)
    return () => clearTimeout(timer)
  }, [value, periodMs])
  return settled
}
