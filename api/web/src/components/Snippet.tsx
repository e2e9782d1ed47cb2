import type { SearchHit } from '~/api/types'
import { plainText } from '~/lib/plainText'

/** A piece of a message, without its Markdown, with what was looked for marked. */
export function Snippet({ parts }: { parts: SearchHit['snippet'] }) {
  return parts
    .map((part) => ({ ...part, text: plainText(part.text) }))
    .filter(({ text }) => text !== '')
    .map(({ text, isHit }, index) => (
      // Parts never move.
      <span key={index}>
        {index > 0 && !/^[.,;:!?)]/.test(text) && ' '}
        {isHit ? <mark>{text}</mark> : text}
      </span>
    ))
}
