import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import { Navigate, NavLink, Outlet, useLocation, useNavigate } from 'react-router'
import { useLiveFeed, useLiveState } from '~/api/LiveProvider'
import { isSignedOut, signedInQuery, writes } from '~/api/queries'
import { Palette } from '~/components/Palette'
import { ParkedBanner } from '~/components/ParkedBanner'
import { ShortcutsDialog } from '~/components/ShortcutsDialog'
import { focusNeighbour, modName, type Shortcut, useShortcuts } from '~/lib/shortcuts'
import { paths } from '~/paths'
import { AnnouncerProvider } from '~/ui/Announcer'
import { IconButton } from '~/ui/Button'
import { Icon, type IconName } from '~/ui/Icon'
import { Menu } from '~/ui/Menu'
import { ProblemNote, Waiting } from '~/ui/Notes'

const PLACES: { to: string; label: string; icon: IconName; isExact: boolean }[] = [
  { to: paths.dashboard(), label: 'Dashboard', icon: 'home', isExact: true },
  { to: paths.projects(), label: 'Projects', icon: 'folder', isExact: false },
  { to: paths.nodes(), label: 'Nodes', icon: 'server', isExact: false },
]

/** What every page stands in; asks to sign in first. */
export function AppFrame() {
  const signedIn = useQuery(signedInQuery)
  const location = useLocation()
  if (signedIn.data !== undefined && !isSignedOut(signedIn.error)) return <SignedInFrame />
  if (isSignedOut(signedIn.error)) {
    return <Navigate to={paths.signIn()} state={{ from: location.pathname }} replace />
  }
  return (
    <main className="lonely">
      {signedIn.error === null ? (
        <Waiting>Connecting to SAM</Waiting>
      ) : (
        <ProblemNote error={signedIn.error} retry={() => void signedIn.refetch()} />
      )}
    </main>
  )
}

function SignedInFrame() {
  useLiveFeed()
  const [overlay, setOverlay] = useState<'none' | 'palette' | 'shortcuts'>('none')
  const navigate = useNavigate()
  const shortcuts = useMemo<Shortcut[]>(
    () => [
      { keys: 'mod+k', label: 'Command palette', act: () => setOverlay('palette') },
      { keys: '?', label: 'Keyboard shortcuts', act: () => setOverlay('shortcuts') },
      { keys: 'j', label: 'Next in the list', act: () => focusNeighbour(1) },
      { keys: 'k', label: 'Previous in the list', act: () => focusNeighbour(-1) },
      { keys: 'c', label: 'Write (focus the composer)', act: focusComposer },
      { keys: 'g d', label: 'Go to the dashboard', act: () => void navigate(paths.dashboard()) },
      { keys: 'g p', label: 'Go to projects', act: () => void navigate(paths.projects()) },
      { keys: 'g n', label: 'Go to nodes', act: () => void navigate(paths.nodes()) },
      { keys: 'g f', label: 'Go to search', act: () => void navigate(paths.search()) },
      { keys: 'g a', label: 'Go to the audit', act: () => void navigate(paths.audit()) },
      { keys: 'g s', label: 'Go to settings', act: () => void navigate(paths.settings()) },
    ],
    [navigate],
  )
  useShortcuts(shortcuts)
  return (
    <AnnouncerProvider>
      <a className="skip-link" href="#content">
        Skip to content
      </a>
      <div className="frame">
        <TopBar openPalette={() => setOverlay('palette')} openHelp={() => setOverlay('shortcuts')} />
        <ConnectionBar />
        <ParkedBanner />
        <main id="content" className="content" tabIndex={-1}>
          <Outlet />
        </main>
      </div>
      <Palette isOpen={overlay === 'palette'} onClose={() => setOverlay('none')} />
      <ShortcutsDialog
        isOpen={overlay === 'shortcuts'}
        onClose={() => setOverlay('none')}
        shortcuts={shortcuts}
      />
    </AnnouncerProvider>
  )
}

function TopBar({ openPalette, openHelp }: { openPalette: () => void; openHelp: () => void }) {
  const signedIn = useQuery(signedInQuery)
  const cache = useQueryClient()
  const navigate = useNavigate()
  const signOut = async () => {
    await writes.signOut()
    cache.clear()
    await navigate(paths.signIn())
  }
  return (
    <header className="top-bar">
      <NavLink className="brand" to={paths.dashboard()} aria-label="SAM, to the dashboard">
        <img src="/icon.svg" alt="" width="20" height="20" />
        <span>SAM</span>
      </NavLink>
      <nav aria-label="Main">
        {PLACES.map((place) => (
          <NavLink key={place.to} to={place.to} end={place.isExact}>
            <Icon name={place.icon} />
            <span>{place.label}</span>
          </NavLink>
        ))}
      </nav>
      <button type="button" className="palette-button" onClick={openPalette} aria-label="Search or jump to">
        <Icon name="search" />
        <span>Search or jump to</span>
        <kbd>{modName()} K</kbd>
      </button>
      <Menu
        trigger={<IconButton icon="gear" label="Settings and account" />}
        entries={[
          { label: 'Settings', act: () => void navigate(paths.settings()) },
          { label: 'System', act: () => void navigate(paths.system()) },
          { label: 'Audit', act: () => void navigate(paths.audit()) },
          { label: 'Keyboard shortcuts', act: openHelp },
          {
            label: `Sign out${signedIn.data === undefined ? '' : ` (${signedIn.data.account.name})`}`,
            act: () => void signOut(),
          },
        ]}
      />
    </header>
  )
}

/** Says when the page is no longer live; hidden for the blink of an eye that most reconnects take. */
function ConnectionBar() {
  const state = useLiveState()
  return (
    <div role="status" className="connection-slot">
      {state === 'reconnecting' && (
        <p className="connection-bar">
          <span className="spinner" aria-hidden="true" />
          Reconnecting to SAM. What you see may be old; nothing is lost.
        </p>
      )}
    </div>
  )
}

function focusComposer(): void {
  document.querySelector<HTMLTextAreaElement>('[data-composer]')?.focus()
}
