import { createContext, type ReactNode, useContext, useEffect, useSyncExternalStore } from 'react'
import type { LiveFeed, LiveState } from '~/api/live'

const FeedContext = createContext<LiveFeed | undefined>(undefined)

export function LiveProvider({ feed, children }: { feed: LiveFeed; children: ReactNode }) {
  return <FeedContext value={feed}>{children}</FeedContext>
}

/** Connects the feed while the person is signed in. */
export function useLiveFeed(): void {
  const feed = useFeed()
  // A socket is outside React and lives as long as the signed-in page.
  useEffect(() => {
    feed.start()
    return () => feed.stop()
  }, [feed])
}

export function useLiveState(): LiveState {
  const feed = useFeed()
  return useSyncExternalStore(feed.subscribe, () => feed.state)
}

/** Streams one conversation into the cache while the caller is on the page. */
export function useFollowed(session: string): void {
  const feed = useFeed()
  // The server streams a conversation only to those who look at it.
  useEffect(() => feed.follow(session), [feed, session])
}

function useFeed(): LiveFeed {
  const feed = useContext(FeedContext)
  if (feed === undefined) throw new Error('the page is not inside a LiveProvider')
  return feed
}
