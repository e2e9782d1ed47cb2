import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'

const TOKENS = readFileSync(new URL('./tokens.css', import.meta.url), 'utf8')

/** What is written on what: body text needs 4.5:1 (WCAG AA), edges of controls 3:1. */
const TEXTS = ['text', 'text-soft', 'text-faint', 'accent', 'good', 'busy', 'wait', 'bad']
const SURFACES = ['surface-0', 'surface-1', 'surface-2']
const PAIRS: [string, string, number][] = [
  ...TEXTS.flatMap((text) => SURFACES.map((on): [string, string, number] => [text, on, 4.5])),
  ['on-accent', 'accent', 4.5],
  ['good', 'good-soft', 4.5],
  ['busy', 'busy-soft', 4.5],
  ['wait', 'wait-soft', 4.5],
  ['bad', 'bad-soft', 4.5],
  ['text', 'wait-soft', 7],
  ['text', 'busy-soft', 7],
  ['text-soft', 'busy-soft', 4.5],
  ['surface-1', 'good', 4.5],
  ['surface-1', 'bad', 4.5],
  ['surface-1', 'busy', 4.5],
  ['text', 'diff-add', 7],
  ['text', 'diff-remove', 7],
  ['text', 'accent-soft', 7],
  ['text-soft', 'accent-soft', 4.5],
  ['line-strong', 'surface-0', 3],
  ['line-strong', 'surface-1', 3],
  ['focus', 'surface-0', 3],
  ['focus', 'surface-1', 3],
  ...['code-comment', 'code-keyword', 'code-string', 'code-number', 'code-title'].map(
    (text): [string, string, number] => [text, 'surface-2', 4.5],
  ),
]

describe.each([
  ['light', 0],
  ['dark', 1],
] as const)('%s', (_, theme) => {
  test.each(PAIRS)('%s can be read on %s', (front, back, least) => {
    expect(contrast(colour(front, theme), colour(back, theme))).toBeGreaterThanOrEqual(least)
  })
})

test('no other stylesheet names a colour', () => {
  for (const file of ['base.css', 'ui/ui.css', 'components/components.css', 'components/chat.css', 'components/diff.css', 'components/timeline.css', 'pages/pages.css', 'pages/log.css']) {
    const css = readFileSync(new URL(file, import.meta.url), 'utf8')
    expect(css.match(/#[0-9a-f]{3,8}\b|rgba?\(|hsl/gi), file).toBeNull()
  }
})

function colour(name: string, theme: 0 | 1): string {
  const both = new RegExp(`--${name}: light-dark\\((#\\w{6}), (#\\w{6})\\)`).exec(TOKENS)
  const value = both?.[theme + 1]
  if (value === undefined) throw new Error(`no token --${name}`)
  return value
}

function contrast(a: string, b: string): number {
  const [high = 0, low = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x)
  return (high + 0.05) / (low + 0.05)
}

function luminance(hex: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255
    return value <= 0.040_45 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}
