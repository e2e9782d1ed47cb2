import { describe, expect, test } from 'vitest'
import { plainText } from '~/lib/plainText'

describe('Markdown as plain words', () => {
  test.each([
    ['I wrote **`SAM-DEMO.md`** for *you*.', 'I wrote SAM-DEMO.md for you.'],
    ['## Result\n\n- one\n- two', 'Result one two'],
    ['One line: ## Result - one', 'One line: Result - one'],
    ['See [the guide](https://example.org/a_b) and ![a picture](x.png)', 'See the guide and a picture'],
    ['| Found | Where |\n|---|---|\n| A readme | `README.md` |', 'Found Where A readme README.md'],
    ['Run:\n```rust\nfn main() {}\n```', 'Run: fn main() {}'],
    ['cut in the **middle of', 'cut in the middle of'],
    ['snake_case_name stays, 2 * 3 * 4 stays', 'snake_case_name stays, 2 * 3 * 4 stays'],
    ['a || b', 'a b'],
  ])('%j', (markdown, words) => {
    expect(plainText(markdown)).toBe(words)
  })
})
