import { useQuery } from '@tanstack/react-query'
import { keys } from '~/api/keys'
import { auditHeadsQuery, useWrite, writes } from '~/api/queries'
import type { AuditHeads, AuditVerdict } from '~/api/types'
import { count } from '~/lib/words'
import { Badge } from '~/ui/Badge'
import { Button } from '~/ui/Button'
import { CopyButton } from '~/ui/CopyButton'
import { Ago } from '~/ui/Elapsed'
import { ProblemNote, Waiting } from '~/ui/Notes'

/** What protects the log: signatures over all of it, made again and again; and the question whether they still hold. */
export function AuditHeadsCard() {
  const heads = useQuery(auditHeadsQuery)
  const verify = useWrite(writes.verifyAudit, [keys.auditHeads()])
  return (
    <section className="card heads" aria-labelledby="heads">
      <div className="heads-top">
        <h2 id="heads">Signed heads</h2>
        <Button
          icon="shield"
          blockedBy={verify.isPending ? 'Every event is being hashed again' : undefined}
          onClick={() => verify.mutate(undefined)}
        >
          {verify.isPending ? 'Verifying' : 'Verify now'}
        </Button>
      </div>
      <ProblemNote error={heads.error ?? verify.error} />
      {heads.isPending && <Waiting>Looking for the newest signed head</Waiting>}
      {heads.data !== undefined && <Facts heads={heads.data} />}
      <div role="status">{verify.data !== undefined && <Verdict verdict={verify.data} />}</div>
    </section>
  )
}

function Facts({ heads }: { heads: AuditHeads }) {
  const { newest, nHeads, nUnprotected, headPosition, publicKey, writtenTo } = heads
  return (
    <dl className="facts">
      <dt>Newest head</dt>
      <dd>
        {newest ? (
          <>
            covers the log up to position {newest.position}, signed <Ago at={newest.at} />
            <code className="heads-hash" title={newest.hash}>
              {newest.hash.slice(0, 16)}…
            </code>
          </>
        ) : (
          'None yet. The first is signed within seconds of the first event.'
        )}
      </dd>
      <dt>Not yet protected</dt>
      <dd>
        {count(nUnprotected, 'event')} of {headPosition}, after {count(nHeads, 'signed head')}
      </dd>
      <dt>Public key</dt>
      <dd className="heads-key">
        <code>{publicKey}</code>
        <CopyButton text={publicKey} label="Copy the public key" />
      </dd>
      <dt>Also written to</dt>
      <dd>{writtenTo ? <code>{writtenTo}</code> : 'nowhere outside the database'}</dd>
    </dl>
  )
}

function Verdict({ verdict }: { verdict: AuditVerdict }) {
  const { isIntact, nEvents, nStreams, nHeads, nUnprotected, nErasures, findings, nMore, notes, limits } =
    verdict
  return (
    <div className="verdict">
      <p className="line">
        <Badge tone={isIntact ? 'good' : 'bad'}>{isIntact ? 'Intact' : 'Not intact'}</Badge>
        <span>
          {count(nEvents, 'event')} in {count(nStreams, 'stream')} against {count(nHeads, 'signed head')};{' '}
          {count(nUnprotected, 'newer event')} not protected yet. {count(nErasures, 'erasure')} signed.
        </span>
      </p>
      {findings.length > 0 && (
        <ul className="findings" aria-label="Findings">
          {findings.map((finding, index) => (
            // The list never changes after it was made.
            <li key={index}>
              <Badge tone="bad">{finding.kind}</Badge>
              <span>
                {finding.what}
                {finding.position ? <span className="soft"> Position {finding.position}.</span> : null}
              </span>
            </li>
          ))}
        </ul>
      )}
      {nMore > 0 && <p>And {count(nMore, 'more finding')}.</p>}
      {notes.map((note) => (
        <p key={note} className="soft">
          {note}
        </p>
      ))}
      <details open>
        <summary>What verifying cannot find</summary>
        <ul className="limits">
          {limits.map((limit) => (
            <li key={limit}>{limit}</li>
          ))}
        </ul>
      </details>
    </div>
  )
}
