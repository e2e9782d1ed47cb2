/** Splits a list where the group changes; the order stays. */
export function groupedBy<T>(entries: readonly T[], groupOf: (entry: T) => string): { group: string; members: T[] }[] {
  const groups: { group: string; members: T[] }[] = []
  for (const entry of entries) {
    const group = groupOf(entry)
    const last = groups.at(-1)
    if (last?.group === group) last.members.push(entry)
    else groups.push({ group, members: [entry] })
  }
  return groups
}
