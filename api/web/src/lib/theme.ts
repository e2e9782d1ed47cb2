import { useRemembered } from '~/lib/storage'

export const THEMES = ['system', 'light', 'dark'] as const
export type Theme = (typeof THEMES)[number]

/** The chosen theme; `public/theme.js` applies it before the first paint. */
export function useTheme(): [Theme, (theme: Theme) => void] {
  const [stored, store] = useRemembered('theme')
  const theme = stored === 'light' || stored === 'dark' ? stored : 'system'
  return [
    theme,
    (next) => {
      store(next === 'system' ? '' : next)
      if (next === 'system') delete document.documentElement.dataset['theme']
      else document.documentElement.dataset['theme'] = next
    },
  ]
}
