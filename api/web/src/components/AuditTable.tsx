import type { AuditEntry, Project } from '~/api/types'
import type { AuditField } from '~/lib/auditFilter'
import { fullTime } from '~/lib/time'

/** Events as a table; on a narrow screen each row becomes a few lines. */
export function AuditTable({
  entries,
  projects,
  isOld,
  filterBy,
}: {
  entries: readonly AuditEntry[]
  projects: readonly Project[]
  isOld: boolean
  filterBy: (field: AuditField, value: string) => void
}) {
  const names = new Map(projects.map(({ id, name }) => [id, name]))
  return (
    <table className="audit" aria-busy={isOld}>
      <thead>
        <tr>
          <th scope="col">Position</th>
          <th scope="col">When</th>
          <th scope="col">Who</th>
          <th scope="col">What</th>
          <th scope="col">Where</th>
        </tr>
      </thead>
      <tbody>
        {entries.map((entry) => (
          <tr key={entry.position}>
            <td className="audit-position">{entry.position}</td>
            <td className="audit-when">
              <time dateTime={entry.at}>{fullTime(entry.at)}</time>
            </td>
            <td>
              <button
                type="button"
                className="link-button"
                title={`Only what ${entry.actor} did`}
                onClick={() => filterBy('actor', entry.actor)}
              >
                {shortActor(entry.actor)}
              </button>
            </td>
            <td className="audit-what">
              {entry.summary || entry.event}
              <span className="audit-more">
                {entry.event}, command <span title={entry.command}>{entry.command.slice(0, 8)}</span>
                {causeOf(entry)}
              </span>
            </td>
            <td>
              {entry.kind} <code title={entry.stream}>{entry.stream.slice(0, 8)}</code>
              {entry.project ? (
                <span className="audit-more" title={entry.project}>
                  {names.get(entry.project) ?? `project ${entry.project.slice(0, 8)}`}
                </span>
              ) : null}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

/** `account/8f14e45f-…` as `account 8f14e45f`: whole ids are in the tooltip and the download. */
function shortActor(actor: string): string {
  return actor.replace(/\/?([0-9a-f]{8})-[0-9a-f-]{27}/g, ' $1')
}

function causeOf({ cause }: AuditEntry): string {
  if (!cause) return ''
  return 'position' in cause ? `, because of ${cause.position}` : `, because of command ${cause.command.slice(0, 8)}`
}
