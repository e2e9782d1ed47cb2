// Markdown as coding agents write it, with code coloured.
//
// HTML in the text is shown as text, and links leave the page without telling where from: the author is not trusted.

import bash from 'highlight.js/lib/languages/bash'
import css from 'highlight.js/lib/languages/css'
import diff from 'highlight.js/lib/languages/diff'
import go from 'highlight.js/lib/languages/go'
import javascript from 'highlight.js/lib/languages/javascript'
import json from 'highlight.js/lib/languages/json'
import markdown from 'highlight.js/lib/languages/markdown'
import python from 'highlight.js/lib/languages/python'
import rust from 'highlight.js/lib/languages/rust'
import sql from 'highlight.js/lib/languages/sql'
import typescript from 'highlight.js/lib/languages/typescript'
import xml from 'highlight.js/lib/languages/xml'
import yaml from 'highlight.js/lib/languages/yaml'
import { memo } from 'react'
import ReactMarkdown, { type Components } from 'react-markdown'
import rehypeHighlight from 'rehype-highlight'
import remarkGfm from 'remark-gfm'
import { CopyButton } from '~/ui/CopyButton'

const LANGUAGES = {
  bash, css, diff, go, javascript, json, markdown, python, rust, sql, typescript, xml, yaml,
}

const COMPONENTS: Components = {
  a: ({ href, children }) => (
    <a href={href} target="_blank" rel="noreferrer noopener">
      {children}
    </a>
  ),
  pre: ({ node, children }) => (
    <div className="code-block">
      <CopyButton text={textOf(node)} label="Copy code" />
      {/* A region that scrolls must be reachable by keyboard. */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <pre tabIndex={0}>{children}</pre>
    </div>
  ),
  table: ({ children }) => (
    <div className="table-scroll">
      <table>{children}</table>
    </div>
  ),
  img: ({ alt, src }) => {
    // Not loaded: fetching an image would tell its host who reads what.
    const name = alt === undefined || alt === '' ? 'image' : alt
    if (typeof src !== 'string') return <span>{name}</span>
    return (
      <a href={src} target="_blank" rel="noreferrer noopener">
        {name}
      </a>
    )
  },
}

export const Markdown = memo(function Markdown({ text }: { text: string }) {
  return (
    <div className="markdown">
      <ReactMarkdown
        remarkPlugins={[remarkGfm]}
        rehypePlugins={[[rehypeHighlight, { languages: LANGUAGES, detect: false }]]}
        components={COMPONENTS}
      >
        {text}
      </ReactMarkdown>
    </div>
  )
})

interface TextTree {
  value?: string
  children?: readonly unknown[]
}

function textOf(node: unknown): string {
  if (!isTree(node)) return ''
  return node.value ?? (node.children ?? []).map(textOf).join('')
}

function isTree(node: unknown): node is TextTree {
  return typeof node === 'object' && node !== null
}
