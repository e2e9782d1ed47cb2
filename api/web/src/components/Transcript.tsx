import { useVirtualizer } from '@tanstack/react-virtual'
import {
  type ReactNode,
  type RefObject,
  useEffect,
  useLayoutEffect,
  useRef,
} from 'react'
import type { Item } from '~/api/types'
import { announcementOf, TranscriptRow } from '~/components/TranscriptRow'
import { isRowOf, rowsOf } from '~/lib/rows'
import { useAnnounce } from '~/ui/Announcer'
import { Button } from '~/ui/Button'

const ROW_HEIGHT_GUESS = 56
const NEAR_END = 48
const OLDER_ROWS_LEFT = 3
const INPUT_WAKE_MS = 400
const NOTHING: readonly Item[] = []

/**
 * A conversation of any length: only what is in sight is drawn.
 *
 * At the end it follows what arrives; scrolled up, it stays where the person reads. Older pages are fetched when
 * the first rows come into sight.
 */
export function Transcript({
  items,
  hasMore,
  isLoadingOlder,
  loadOlder,
  footer,
  target,
  isPast = false,
}: {
  items: readonly Item[]
  hasMore: boolean
  isLoadingOlder: boolean
  loadOlder: () => void
  footer: ReactNode
  /** Opens at this item instead of at the end. */
  target?: string | undefined
  /** Shows what was, so nothing in it is news. */
  isPast?: boolean
}) {
  const rows = rowsOf(items)
  const scroller = useRef<HTMLDivElement>(null)
  const content = useRef<HTMLDivElement>(null)
  const hasStarted = useRef(false)
  usePinnedToEnd(scroller, content, target === undefined)
  const nRows = rows.length + 1
  // Its functions are never passed on to memoised children, which is what the rule guards against.
  // eslint-disable-next-line react-hooks/incompatible-library
  const list = useVirtualizer({
    count: nRows,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT_GUESS,
    getItemKey: (index) => rows[index]?.key ?? 'footer',
    overscan: 6,
    anchorTo: 'end',
    scrollEndThreshold: NEAR_END,
  })
  const shown = list.getVirtualItems()
  const first = shown[0]?.index ?? 0

  const targetIndex = target === undefined ? -1 : rows.findIndex((row) => isRowOf(row, target))

  // The first page is read from its end or from what was looked for; only then may what is above it be asked for.
  useLayoutEffect(() => {
    if (hasStarted.current || rows.length === 0) return
    hasStarted.current = true
    if (targetIndex >= 0) list.scrollToIndex(targetIndex, { align: 'center' })
    else list.scrollToEnd()
  }, [list, rows.length, targetIndex])

  // Fetches what is above once it comes near; the reading position is kept by `anchorTo`.
  useEffect(() => {
    const outer = scroller.current
    if (!hasStarted.current || outer === null || !hasMore || isLoadingOlder) return
    // On arrival the first rows are drawn before the list is at its end: that is not somebody reading there.
    if (first < OLDER_ROWS_LEFT && outer.scrollTop < 2 * outer.clientHeight) loadOlder()
  }, [first, hasMore, isLoadingOlder, loadOlder])

  useAnnouncements(isPast ? NOTHING : items)
  return (
    <div className="transcript-frame">
      {/* eslint-disable jsx-a11y/no-noninteractive-tabindex -- a region that scrolls must be reachable by keyboard */}
      <div
        ref={scroller}
        className="transcript"
        role="log"
        aria-live="off"
        aria-label="Conversation"
        tabIndex={0}
      >
        {/* eslint-enable jsx-a11y/no-noninteractive-tabindex */}
        {hasMore && (
          <p className="older" role="status">
            {isLoadingOlder ? 'Loading older messages' : 'There is more above'}
          </p>
        )}
        <div ref={content} className="transcript-rows" style={{ height: list.getTotalSize() }}>
          {shown.map(({ index, key, start }) => {
            const row = rows[index]
            return (
              <div
                key={key}
                ref={list.measureElement}
                data-index={index}
                className={index === targetIndex ? 'transcript-row transcript-target' : 'transcript-row'}
                aria-current={index === targetIndex ? 'true' : undefined}
                style={{ transform: `translateY(${start}px)` }}
              >
                {row === undefined ? footer : <TranscriptRow row={row} />}
              </div>
            )
          })}
        </div>
      </div>
      {hasStarted.current && !list.isAtEnd(NEAR_END * 2) && (
        <Button className="to-end" icon="down" onClick={() => list.scrollToEnd()}>
          Newest
        </Button>
      )}
    </div>
  )
}

/**
 * Keeps the end in sight while it was in sight, whatever grows: the text, the footer, or what stands below.
 *
 * Only a person's own scrolling lets go. A browser scrolls too, when something above or below changes its height, so
 * a scroll counts as a person's only in the wake of a touch, a key or a press on the scrollbar. A wheel that is turned
 * up lets go by itself: on a page that is busy with what arrives, its scroll may come any time later.
 */
function usePinnedToEnd(
  scroller: RefObject<HTMLDivElement | null>,
  content: RefObject<HTMLDivElement | null>,
  isPinnedAtFirst: boolean,
): void {
  // Sizes and scrolling are the browser's; React hears of neither.
  useEffect(() => {
    const [outer, inner] = [scroller.current, content.current]
    if (outer === null || inner === null) return
    let isPinned = isPinnedAtFirst
    let inputAt = Number.NEGATIVE_INFINITY
    let pinnedTop = Number.NaN
    const observer = new ResizeObserver(() => {
      if (!isPinned) return
      outer.scrollTop = outer.scrollHeight
      pinnedTop = outer.scrollTop
    })
    observer.observe(outer)
    observer.observe(inner)
    const noteInput = (event: Event) => {
      inputAt = event.timeStamp
    }
    const noteWheel = (event: WheelEvent) => {
      noteInput(event)
      // A pinch is a wheel with Ctrl, and scrolls nothing.
      if (event.ctrlKey || event.deltaY >= 0 || outer.scrollTop === 0) return
      if (!isWithinScrolled(event.target, outer)) isPinned = false
    }
    const noteScroll = (event: Event) => {
      // Told late of the scrolling above: nobody came back to the end.
      if (!isPinned && outer.scrollTop === pinnedTop) return
      pinnedTop = Number.NaN
      const left = outer.scrollHeight - outer.scrollTop - outer.clientHeight
      if (left < NEAR_END) isPinned = true
      else if (event.timeStamp - inputAt < INPUT_WAKE_MS) {
        isPinned = false
        inputAt = event.timeStamp // A flick goes on after the finger has left.
      }
    }
    const inputs = ['touchmove', 'keydown', 'pointerdown']
    for (const input of inputs) outer.addEventListener(input, noteInput, { passive: true })
    outer.addEventListener('wheel', noteWheel, { passive: true })
    outer.addEventListener('scroll', noteScroll, { passive: true })
    return () => {
      observer.disconnect()
      for (const input of inputs) outer.removeEventListener(input, noteInput)
      outer.removeEventListener('wheel', noteWheel)
      outer.removeEventListener('scroll', noteScroll)
    }
  }, [scroller, content, isPinnedAtFirst])
}

/** Tells whether something inside of `outer`, such as the output of a tool, takes a wheel that is turned up. */
function isWithinScrolled(target: EventTarget | null, outer: Element): boolean {
  let element = target instanceof Element ? target : null
  while (element !== null && element !== outer) {
    if (element.scrollTop > 0) return true
    element = element.parentElement
  }
  return false
}

/** Tells screen readers whole things as they are finished, not letters as they stream. */
function useAnnouncements(items: readonly Item[]): void {
  const announce = useAnnounce()
  const told = useRef<Set<string>>(undefined)
  // Announcing is speech, outside React's tree; what was there on arrival is not news.
  useEffect(() => {
    const news = items
      .map((item) => ({ key: item.key, text: announcementOf(item) }))
      .filter(({ text }) => text !== '')
    if (told.current === undefined) {
      told.current = new Set(news.map(({ key }) => key))
      return
    }
    for (const { key, text } of news) {
      if (told.current.has(key)) continue
      told.current.add(key)
      announce(text)
    }
  }, [items, announce])
}
