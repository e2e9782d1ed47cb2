import { NavLink } from 'react-router'
import { paths } from '~/paths'
import { Icon, type IconName } from '~/ui/Icon'

const TABS: { to: string; label: string; icon: IconName }[] = [
  { to: paths.settings(), label: 'Settings', icon: 'gear' },
  { to: paths.system(), label: 'System', icon: 'server' },
  { to: paths.audit(), label: 'Audit', icon: 'shield' },
]

/** The owner's places: what is set, how the system is, and who did what. */
export function SettingsTabs() {
  return (
    <nav className="tabs page-tabs" aria-label="Settings">
      {TABS.map(({ to, label, icon }) => (
        <NavLink key={to} to={to} end className={({ isActive }) => (isActive ? 'tab tab-active' : 'tab')}>
          <Icon name={icon} />
          {label}
        </NavLink>
      ))}
    </nav>
  )
}
