import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { useNavigate } from 'react-router'
import { keys } from '~/api/keys'
import { agentsQuery, credentialsQuery, signedInQuery, useWrite, writes } from '~/api/queries'
import type { Credential } from '~/api/types'
import { AgentName } from '~/components/DemoLabel'
import { EraseForm } from '~/components/EraseForm'
import { SettingsTabs } from '~/components/SettingsTabs'
import { THEMES, useTheme } from '~/lib/theme'
import { modName } from '~/lib/shortcuts'
import { paths } from '~/paths'
import { Badge } from '~/ui/Badge'
import { Button } from '~/ui/Button'
import { Choice, TextField } from '~/ui/Field'
import { Ago } from '~/ui/Elapsed'
import { ProblemNote, Waiting } from '~/ui/Notes'
import { Page } from '~/ui/Page'

const ANTHROPIC = 'anthropic'

export function SettingsPage() {
  return (
    <Page title="Settings">
      <SettingsTabs />
      <CodingAgents />
      <AnthropicKey />
      <Appearance />
      <About />
      <EraseAccount />
    </Page>
  )
}

function CodingAgents() {
  const agents = useQuery(agentsQuery)
  return (
    <section aria-labelledby="agents">
      <h2 id="agents">Coding agents</h2>
      <ProblemNote error={agents.error} />
      <ul className="lines">
        {agents.data?.map((agent) => (
          <li key={agent.kind} className="line">
            <Badge tone={agent.isAvailable ? 'good' : 'muted'}>
              {agent.isAvailable ? 'Ready' : 'Not set up'}
            </Badge>
            <AgentName kind={agent.kind} />
            <span className="soft">{agent.hint ?? (agent.needs ? `Needs: ${agent.needs}` : '')}</span>
          </li>
        ))}
      </ul>
    </section>
  )
}

function AnthropicKey() {
  const credentials = useQuery(credentialsQuery)
  // There is one kind of key so far.
  const [known] = credentials.data ?? []
  return (
    <section aria-labelledby="anthropic">
      <h2 id="anthropic">Anthropic API key</h2>
      <p className="soft">
        Claude Code needs one. It is encrypted where it is stored, goes only to nodes that run an
        execution, and is never shown again.
      </p>
      {credentials.isPending && <Waiting>Looking for a key</Waiting>}
      <ProblemNote error={credentials.error} />
      {known !== undefined && <KnownKey credential={known} />}
      {credentials.data !== undefined && <KeyForm isReplacing={known !== undefined} />}
    </section>
  )
}

function KnownKey({ credential }: { credential: Credential }) {
  const remove = useWrite(writes.removeCredential, [keys.credentials(), keys.agents()])
  return (
    <>
      <p className="line">
        <Badge tone="good">Stored</Badge>
        <code>…{credential.lastFour}</code>
        <span className="soft">
          added <Ago at={credential.addedAt} />
        </span>
        <Button
          look="danger"
          icon="remove"
          blockedBy={remove.isPending ? 'It is being removed' : undefined}
          onClick={() => remove.mutate(credential.kind)}
        >
          Remove
        </Button>
      </p>
      <ProblemNote error={remove.error} />
    </>
  )
}

function KeyForm({ isReplacing }: { isReplacing: boolean }) {
  const [secret, setSecret] = useState('')
  const save = useWrite(writes.saveCredential, [keys.credentials(), keys.agents()])
  return (
    <form
      className="form"
      onSubmit={(event) => {
        event.preventDefault()
        save.mutate(
          { kind: ANTHROPIC, secret: secret.trim() },
          { onSuccess: () => setSecret('') },
        )
      }}
    >
      <TextField
        label={isReplacing ? 'Replace it with' : 'Key'}
        type="password"
        value={secret}
        autoComplete="off"
        placeholder="sk-ant-…"
        onChange={(event) => setSecret(event.target.value)}
      />
      <ProblemNote error={save.error} />
      <div className="form-actions">
        <Button
          type="submit"
          look={isReplacing ? 'normal' : 'primary'}
          icon="key"
          blockedBy={
            save.isPending ? 'Saving' : secret.trim() === '' ? 'Paste a key first' : undefined
          }
        >
          {isReplacing ? 'Replace key' : 'Save key'}
        </Button>
      </div>
    </form>
  )
}

function Appearance() {
  const [theme, setTheme] = useTheme()
  const names = { system: 'System', light: 'Light', dark: 'Dark' }
  return (
    <section aria-labelledby="appearance">
      <h2 id="appearance">Appearance</h2>
      <Choice
        legend="Theme"
        value={theme}
        options={THEMES.map((value) => ({ value, label: names[value] }))}
        onChange={(value) => setTheme(THEMES.find((candidate) => candidate === value) ?? 'system')}
      />
    </section>
  )
}

function About() {
  const { data } = useQuery(signedInQuery)
  return (
    <section aria-labelledby="about">
      <h2 id="about">About</h2>
      <p className="soft">
        Press <kbd>?</kbd> for keyboard shortcuts, <kbd>{modName()}</kbd> <kbd>K</kbd> for
        everything else.
        {data !== undefined && ` SAM ${data.version}, signed in as ${data.account.name}.`}
      </p>
    </section>
  )
}

/** Takes away everything that the account has. Nobody is signed in afterwards. */
function EraseAccount() {
  const { data } = useQuery(signedInQuery)
  const cache = useQueryClient()
  const navigate = useNavigate()
  const erase = useWrite(writes.eraseAccount)
  const submit = async (confirm: string) => {
    await erase.mutateAsync(confirm)
    cache.clear()
    await navigate(paths.accountErased())
  }
  if (data === undefined) return null
  return (
    <EraseForm
      title="Erase your account"
      what="account"
      name={data.account.name}
      erase={(confirm) => void submit(confirm).catch(() => undefined)}
      isPending={erase.isPending}
      error={erase.error}
    >
      What runs is cancelled, every project is erased with all its texts, stored keys are destroyed, and every browser is
      signed out. None of it comes back, not from backups either. The log keeps that something happened and when. SAM
      stays: its next sign-in link is for a new account, which has nothing of this one.
    </EraseForm>
  )
}
