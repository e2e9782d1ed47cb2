// The audit's filter as it stands in the address and as the API takes it.

export const AUDIT_FIELDS = ['actor', 'kind', 'event', 'project', 'from', 'until'] as const
export type AuditField = (typeof AUDIT_FIELDS)[number]
export type AuditFilter = Partial<Record<AuditField, string>>

/** What the address says, without what is empty or unknown. */
export function filterIn(search: URLSearchParams): AuditFilter {
  const pairs = AUDIT_FIELDS.map((field) => [field, search.get(field)?.trim() ?? ''] as const)
  return Object.fromEntries(pairs.filter(([, value]) => value !== ''))
}

/** As the API takes it: days become moments, from the beginning of the first to the end of the last, in local time. */
export function auditQuery(filter: AuditFilter): URLSearchParams {
  const { from, until, ...others } = filter
  const query = new URLSearchParams(others)
  const start = startOfDay(from, 0)
  const end = startOfDay(until, 1)
  if (start !== undefined) query.set('from', start)
  if (end !== undefined) query.set('until', end)
  return query
}

function startOfDay(day: string | undefined, daysLater: number): string | undefined {
  const [, year, month, date] = /^(\d{4})-(\d{2})-(\d{2})$/.exec(day ?? '') ?? []
  if (date === undefined) return undefined
  const start = new Date(Number(year), Number(month) - 1, Number(date) + daysLater)
  return Number.isNaN(start.getTime()) ? undefined : start.toISOString()
}
