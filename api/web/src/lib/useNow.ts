import { useEffect, useState } from 'react'

/** The time, again and again, while something on the page shows how long it takes. */
export function useNow({
  everySeconds,
  isRunning = true,
}: {
  everySeconds: number
  isRunning?: boolean
}): Date {
  const [now, setNow] = useState(() => new Date())
  // A timer is outside React; it runs only while something is being waited for.
  useEffect(() => {
    if (!isRunning) return
    const timer = setInterval(() => setNow(new Date()), everySeconds * 1000)
    return () => clearInterval(timer)
  }, [everySeconds, isRunning])
  return now
}
