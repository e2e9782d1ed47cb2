/** Whether each word of the search occurs, in any order and case. */
export function matches(search: string, text: string): boolean {
  const haystack = text.toLowerCase()
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => haystack.includes(word))
}
