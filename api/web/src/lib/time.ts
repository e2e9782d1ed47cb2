// Times and durations as people read them.

const SECOND_MS = 1_000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

/** `0:42`, `12:05`, `1:02:03`. */
export function clockDuration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / SECOND_MS))
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
  const [hours = 0, minutes = 0, rest = 0] = parts
  const tail = `${String(minutes).padStart(hours > 0 ? 2 : 1, '0')}:${String(rest).padStart(2, '0')}`
  return hours > 0 ? `${hours}:${tail}` : tail
}

/** How long after a beginning: `+0:42.1`, `+1:02:03.0`. */
export function offset(ms: number): string {
  const tenths = Math.floor((Math.max(0, ms) % SECOND_MS) / 100)
  return `+${clockDuration(ms)}.${tenths}`
}

/** `0.4 s`, `12 s`, `3 min 5 s`, `1 h 2 min`. */
export function duration(ms: number): string {
  if (ms < 10 * SECOND_MS) return `${(Math.max(0, ms) / SECOND_MS).toFixed(1)} s`
  if (ms < MINUTE_MS) return `${Math.floor(ms / SECOND_MS)} s`
  if (ms < HOUR_MS) {
    const seconds = Math.floor((ms % MINUTE_MS) / SECOND_MS)
    return `${Math.floor(ms / MINUTE_MS)} min${seconds > 0 ? ` ${seconds} s` : ''}`
  }
  const minutes = Math.floor((ms % HOUR_MS) / MINUTE_MS)
  return `${Math.floor(ms / HOUR_MS)} h${minutes > 0 ? ` ${minutes} min` : ''}`
}

/** `just now`, `5 min ago`, `3 h ago`, `2 d ago`, then the date. */
export function ago(at: string, now: Date): string {
  const ms = msBetween(at, now)
  if (ms < MINUTE_MS) return 'just now'
  if (ms < HOUR_MS) return `${Math.floor(ms / MINUTE_MS)} min ago`
  if (ms < DAY_MS) return `${Math.floor(ms / HOUR_MS)} h ago`
  if (ms < 7 * DAY_MS) return `${Math.floor(ms / DAY_MS)} d ago`
  return new Date(at).toLocaleDateString(undefined, { dateStyle: 'medium' })
}

export function msBetween(from: string, to: Date | string): number {
  return new Date(to).getTime() - new Date(from).getTime()
}

export function minutesUntil(at: string, now: Date): number {
  return Math.max(0, Math.ceil(-msBetween(at, now) / MINUTE_MS))
}

export function fullTime(at: string): string {
  return new Date(at).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
}

/** `Today`, `Yesterday`, then the date. */
export function dayName(at: string, now: Date): string {
  const days = Math.round((startOfDay(now) - startOfDay(new Date(at))) / DAY_MS)
  if (days === 0) return 'Today'
  if (days === 1) return 'Yesterday'
  return new Date(at).toLocaleDateString(undefined, { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' })
}

function startOfDay(date: Date): number {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime()
}

export function timeOfDay(at: string): string {
  return new Date(at).toLocaleTimeString(undefined, { timeStyle: 'medium' })
}
