// Our own icons, drawn on a 16-unit grid with one stroke; decoration only, so hidden from screen readers.

const SHAPES = {
  home: 'M2.5 7.5 8 3l5.5 4.5M4 6.8V13h8V6.8',
  folder: 'M2 4.5h4l1.5 2H14v6.5H2z',
  server: 'M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.01M5 11h.01',
  gear: 'M8 5.8a2.2 2.2 0 1 0 0 4.4 2.2 2.2 0 0 0 0-4.4zM8 1.8v2M8 12.2v2M1.8 8h2M12.2 8h2M3.6 3.6 5 5M11 11l1.4 1.4M3.6 12.4 5 11M11 5l1.4-1.4',
  search: 'M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.4 10.4 14 14',
  plus: 'M8 3v10M3 8h10',
  check: 'm3 8.5 3.5 3.5L13 4.5',
  cross: 'm4 4 8 8M12 4l-8 8',
  chevron: 'm6 3.5 4.5 4.5L6 12.5',
  down: 'm3.5 6 4.5 4.5L12.5 6',
  up: 'm3.5 10 4.5-4.5 4.5 4.5',
  menu: 'M2.5 4h11M2.5 8h11M2.5 12h11',
  read: 'M4 2h5l3 3v9H4zM9 2v3h3M6 8h4M6 11h4',
  edit: 'M3 13l.7-3L10.5 3.2l2.3 2.3L6 12.3zM9 4.7 11.3 7',
  run: 'M2 3h12v10H2zM4.5 6l2 2-2 2M8.5 10h3',
  remove: 'M3 4.5h10M6 4.5V3h4v1.5M4.5 4.5 5 13h6l.5-8.5',
  move: 'M2.5 8h11M10 4.5 13.5 8 10 11.5',
  think: 'M5.5 11.5a4.2 4.2 0 1 1 5 0v1h-5zM6.5 14.5h3',
  globe: 'M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM2 8h12M8 2c2 1.7 2.5 4 2.5 6S10 12.300 8 14c-2-1.7-2.500-4-2.500-6S6 3.700 8 2z',
  tool: 'M10.500 2.500a3.300 3.300 0 0 0-3 4.600L2.500 12l1.500 1.500 5-5a3.300 3.300 0 0 0 4.400-4.200L11.300 6.400 9.600 4.700z',
  branch: 'M4.500 5.500v5M4.500 2.500a1.500 1.500 0 1 0 0 3 1.500 1.500 0 0 0 0-3zM4.500 10.500a1.500 1.500 0 1 0 0 3 1.500 1.500 0 0 0 0-3zM11.500 3.500a1.500 1.500 0 1 0 0 3 1.500 1.500 0 0 0 0-3zM11.500 6.500c0 2.500-7 1.500-7 4',
  commit: 'M8 5.500a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5zM1.500 8h4M10.500 8h4',
  clock: 'M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 4.500V8l2.500 1.500',
  hand: 'M8 2.500 14 13H2zM8 6.500v3M8 11.400h.01',
  stop: 'M4 4h8v8H4z',
  retry: 'M13 8a5 5 0 1 1-1.600-3.600M13 2.500v3h-3',
  send: 'M8 13V3M3.500 7.500 8 3l4.500 4.500',
  dot: 'M8 6a2 2 0 1 0 0 4 2 2 0 0 0 0-4z',
  ring: 'M8 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8z',
  half: 'M8 3.500a4.500 4.500 0 1 0 0 9zM8 3.500a4.500 4.500 0 0 1 0 9',
  dash: 'M4 8h8',
  copy: 'M5.500 5.500h7.500V13H5.500zM3 10.500V3h7.500',
  board: 'M2 3h3.300v10H2zM6.400 3h3.300v7H6.400zM10.700 3H14v5h-3.300z',
  chat: 'M2.500 3h11v8H7l-3 2.500V11H2.500z',
  key: 'M5.500 6.500a3 3 0 1 0 0 5 3 3 0 0 0 0-5zM7.800 7.800 13 2.600M10.500 5 12.500 7',
  shield: 'M8 2l5 1.800v4C13 11 11 13 8 14c-3-1-5-3-5-6.200v-4z',
  list: 'M5.500 4H14M5.500 8H14M5.500 12H14M2.500 4h.01M2.500 8h.01M2.500 12h.01',
} as const

export type IconName = keyof typeof SHAPES

export function Icon({ name, className = '' }: { name: IconName; className?: string }) {
  return (
    <svg
      className={`icon ${className}`}
      viewBox="0 0 16 16"
      width="16"
      height="16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      <path d={SHAPES[name]} />
    </svg>
  )
}
