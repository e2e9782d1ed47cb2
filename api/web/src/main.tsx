import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { RouterProvider } from 'react-router'
import { LiveFeed } from '~/api/live'
import { LiveProvider } from '~/api/LiveProvider'
import { isWorthRepeating } from '~/api/queries'
import { endpoints } from '~/paths'
import { fetchPagesAhead, router } from '~/routes'
import './tokens.css'
import './base.css'
import './ui/ui.css'
import './components/components.css'
import './components/chat.css'
import './components/diff.css'
import './pages/pages.css'

const cache = new QueryClient({
  defaultOptions: {
    queries: {
      retry: isWorthRepeating,
      // The live feed says what is stale; asking again on every focus would only cost.
      staleTime: 60_000,
      refetchOnWindowFocus: false,
    },
  },
})

const feed = new LiveFeed(cache, () => {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:'
  return `${scheme}//${location.host}${endpoints.live()}`
})

const root = document.getElementById('root')
if (root === null) throw new Error('index.html has no element called root')
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={cache}>
      <LiveProvider feed={feed}>
        <RouterProvider router={router} />
      </LiveProvider>
    </QueryClientProvider>
  </StrictMode>,
)

const AHEAD_AFTER_MS = 1_500
window.addEventListener('load', () => setTimeout(fetchPagesAhead, AHEAD_AFTER_MS), { once: true })
