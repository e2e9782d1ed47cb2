// Dragging an idea over the board with a mouse or a pen. Fingers scroll; for them and for keys there are the card's menu
// and `[` and `]`. Not the browser's own dragging: Firefox does not start it on a button.

import { type PointerEvent, useEffect, useRef, useState } from 'react'
import { type BoardMove, movesOf } from '~/api/can'
import type { Idea } from '~/api/types'

const DRAG_FROM_PX = 6

export interface Drag {
  idea: Idea
  x: number
  y: number
  /** The column under the pointer, if the idea may go there. */
  over: BoardMove | undefined
}

/** What is being dragged, and what starts a drag. `drop` is called with legal moves only. */
export function useBoardDrag(drop: (idea: Idea, stage: BoardMove) => void) {
  const [drag, setDrag] = useState<Drag>()
  const stop = useRef<() => void>(undefined)
  // The listeners of a drag that goes on while the page is left are the window's.
  useEffect(() => () => stop.current?.(), [])

  const start = (idea: Idea, { button, pointerType, clientX, clientY }: PointerEvent) => {
    const moves = movesOf(idea.stage)
    if (button !== 0 || pointerType === 'touch' || moves.length === 0) return
    let current: Drag | undefined
    const show = (next: Drag | undefined) => {
      current = next
      setDrag(next)
    }
    const onMove = ({ clientX: x, clientY: y }: globalThis.PointerEvent) => {
      if (current === undefined && Math.hypot(x - clientX, y - clientY) < DRAG_FROM_PX) return
      document.body.classList.add('dragging')
      show({ idea, x, y, over: moves.find((stage) => stage === stageAt(x, y)) })
    }
    const end = () => {
      window.removeEventListener('pointermove', onMove)
      window.removeEventListener('pointerup', onUp)
      window.removeEventListener('pointercancel', end)
      window.removeEventListener('keydown', onKey, true)
      document.body.classList.remove('dragging')
      stop.current = undefined
      show(undefined)
    }
    const onUp = () => {
      const over = current?.over
      if (current !== undefined) swallowClick()
      end()
      if (over !== undefined) drop(idea, over)
    }
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== 'Escape' || current === undefined) return
      event.stopPropagation()
      end()
    }
    stop.current?.()
    stop.current = end
    window.addEventListener('pointermove', onMove)
    window.addEventListener('pointerup', onUp)
    window.addEventListener('pointercancel', end)
    window.addEventListener('keydown', onKey, true)
  }
  return { drag, start }
}

function stageAt(x: number, y: number): string | undefined {
  return document.elementFromPoint(x, y)?.closest<HTMLElement>('[data-stage]')?.dataset['stage']
}

/** The press that ends a drag is not a click on the card. */
function swallowClick(): void {
  const swallow = (event: MouseEvent) => {
    event.stopPropagation()
    event.preventDefault()
  }
  window.addEventListener('click', swallow, { capture: true, once: true })
  setTimeout(() => window.removeEventListener('click', swallow, { capture: true }), 0)
}
