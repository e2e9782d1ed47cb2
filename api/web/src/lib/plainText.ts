// Markdown as one line of plain words, for lists that show how a message begins.

const RULES: [RegExp, string][] = [
  [/```[\w+-]*/g, ' '],
  [/!?\[([^\]]*)\]\([^)]*\)/g, '$1'],
  [/(^|\s)#{1,6}\s+/g, '$1'],
  [/^\s*(?:[-*+]|\d+[.)]|>)\s+/gm, ' '],
  [/\|?(?:\s*:?-{3,}:?\s*\|)+(?:\s*:?-{3,}:?)?/g, ' '],
  [/\s*\|\s*/g, ' '],
  [/(\*\*|__)(?=\S)(.*?\S)\1/g, '$2'],
  [/(^|[\s(])[*_](?=\S)([^*_]*\S)[*_](?=$|[\s).,;:!?])/g, '$1$2'],
  [/~~(.*?)~~/g, '$1'],
  [/`([^`]*)`/g, '$1'],
  [/\*\*|`/g, ''],
  [/\s+/g, ' '],
]

/** Drops the marks and keeps the words. A text that was cut in the middle of a mark loses the mark as well. */
export function plainText(markdown: string): string {
  return RULES.reduce((text, [mark, words]) => text.replace(mark, words), markdown).trim()
}
