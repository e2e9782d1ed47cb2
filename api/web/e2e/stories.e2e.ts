// What a person does, from the sign-in link to the branch.

import { expect, test } from '@playwright/test'
import { PROJECT } from '../mock/seed'
import { answer, sendIdea, signIn } from './steps'

test('a used link says what to do', async ({ page }) => {
  await page.goto('/sign-in#used')
  await expect(page.getByText('This link does not work any more.')).toBeVisible()
  await expect(page.getByText('Start SAM again for a new link')).toBeVisible()
})

test('a visitor without a session is asked to sign in', async ({ page }) => {
  await page.goto('/projects')
  await expect(page.getByText('Open the sign-in link that SAM printed')).toBeVisible()
})

test('the sample idea of an empty installation becomes a branch', async ({ page }) => {
  await signIn(page, 'empty-sample')
  await page.getByRole('button', { name: 'Run a sample idea' }).click()
  await expect(page.getByText('Plan', { exact: true })).toBeVisible()
  await expect(page.getByRole('heading', { name: 'Done' })).toBeVisible()
  await expect(page.getByText('Demo', { exact: true }).first()).toBeVisible()
  await page.getByRole('link', { name: 'View diff' }).click()
  await expect(page.getByRole('cell', { name: 'Hello from SAM.' })).toBeVisible()
})

test('a repository that is not there is refused with its reason, then one is linked', async ({ page }) => {
  await signIn(page, 'empty-link')
  await page.getByRole('link', { name: 'or link your own repository' }).click()
  await page.getByLabel('Repository').fill('/srv/missing.git')
  await page.getByRole('button', { name: 'Create project' }).click()
  await expect(page.getByRole('alert')).toContainText('There is no repository at /srv/missing.git')
  await page.getByLabel('Repository').fill('/srv/thing.git')
  await page.getByRole('button', { name: 'Create project' }).click()
  await expect(page.getByRole('heading', { name: 'thing' })).toBeVisible()
  await expect(page.getByText('Demo agent.')).toBeVisible()
})

test('while an idea is prepared its steps are shown, with their reasons', async ({ page }) => {
  await signIn(page, 'demo-still')
  await sendIdea(page, 'Greet the visitor')
  const steps = page.getByRole('list', { name: 'Steps' })
  await expect(steps.getByText('Create the workspace')).toBeVisible()
  await expect(steps.getByText('local has room for one more')).toBeVisible()
})

test('an idea is watched until it is Done, and followed up', async ({ page }) => {
  await signIn(page, 'demo-story')
  await sendIdea(page, 'Greet the visitor')
  await expect(page.getByText('Looked at 3 places')).toBeVisible()
  await expect(page.getByRole('heading', { name: 'Done' })).toBeVisible()
  await expect(page.getByRole('table').getByText('README.md')).toBeVisible()

  await page.getByText('SAM-DEMO.md').first().click()
  await expect(page.getByRole('region', { name: 'Changed lines' })).toContainText('A note by the demo agent')

  await page.getByLabel('Follow-up').fill('say: And a second time.')
  await page.keyboard.press('Control+Enter')
  await expect(answer(page, 'And a second time.')).toBeVisible()
  await expect(page.getByRole('heading', { name: 'Done, no changes' })).toBeVisible()
})

test('permission is asked, answered and recorded', async ({ page }) => {
  await signIn(page, 'demo-permission')
  await sendIdea(page, 'ask: May I delete the logs?\nsay: Thank you.', { permissions: 'ask' })
  const ask = page.getByRole('region', { name: 'Permission needed' })
  await expect(ask).toContainText('May I delete the logs?')
  await page.reload()
  await ask.getByRole('button', { name: 'Allow once' }).click()
  await expect(page.getByText('(by you)')).toBeVisible()
  await expect(ask).toBeHidden()
  await expect(page.getByRole('heading', { name: 'Done' })).toBeVisible()
})

test('a follow-up during a turn is queued and carried out after it', async ({ page }) => {
  await signIn(page, 'demo-queue')
  // The question holds the turn until all of this is done, however long that takes.
  await sendIdea(page, 'ask: Go on?\nsay: The first.', { permissions: 'ask' })
  const ask = page.getByRole('region', { name: 'Permission needed' })
  await expect(ask).toBeVisible()
  await page.getByLabel('Follow-up, after this turn').fill('say: The second.')
  await page.getByRole('button', { name: 'Queue' }).click()
  await expect(page.getByText('Queued: the agent gets it after this turn')).toBeVisible()
  await ask.getByRole('button', { name: 'Allow once' }).click()
  await expect(page.getByRole('article', { name: 'Answer' })).toHaveText(['The first.', 'The second.'])
  await expect(page.getByText('Queued: the agent gets it after this turn')).toBeHidden()
})

test('a hanging agent is cancelled, and the idea retried', async ({ page }) => {
  await signIn(page, 'demo-cancel')
  await sendIdea(page, 'hang\nsay: later')
  await expect(page.getByText('The agent is at work')).toBeVisible()
  await page.getByRole('button', { name: 'Cancel' }).click()
  await expect(page.getByRole('heading', { name: 'Cancelled' })).toBeVisible()
  await page.getByRole('button', { name: 'Retry' }).click()
  await expect(page.getByRole('heading', { name: 'Done' })).toBeVisible()
})

test('a lost prompt waits for a decision and goes on', async ({ page }) => {
  await signIn(page, 'demo-lost')
  await sendIdea(page, 'lose\nsay: On we go.')
  const ask = page.getByRole('region', { name: 'Needs your decision' })
  await expect(ask).toBeVisible()
  await page.goto('/')
  await expect(page.getByText('Needs you')).toBeVisible()
  await page.getByRole('link', { name: /Needs you/ }).click()
  await ask.getByRole('button', { name: 'Continue' }).click()
  await expect(answer(page, 'On we go.')).toBeVisible()
})

test('a failure says why', async ({ page }) => {
  await signIn(page, 'demo-fail')
  await sendIdea(page, 'fail: out of ideas')
  await expect(page.getByRole('heading', { name: 'Failed' })).toBeVisible()
  await expect(page.getByRole('region', { name: 'Result' })).toContainText('out of ideas')
})

test('a key is stored without being shown, makes Claude Code available, and is removed', async ({ page }) => {
  await signIn(page, 'demo-key')
  await page.goto('/settings')
  await page.getByLabel('Key', { exact: true }).fill('nonsense')
  await page.getByRole('button', { name: 'Save key' }).click()
  await expect(page.getByRole('alert')).toContainText('does not look like')
  await page.getByLabel('Key', { exact: true }).fill('sk-ant-secret-1234')
  await page.getByRole('button', { name: 'Save key' }).click()
  await expect(page.getByText('…1234')).toBeVisible()
  await expect(page.getByText('sk-ant-secret')).toHaveCount(0)
  await page.goto(`/projects/${PROJECT}`)
  await expect(page.getByLabel('Agent')).toHaveValue('claude-code')
  await page.goto('/settings')
  await page.getByRole('button', { name: 'Remove' }).click()
  await expect(page.getByText('Not set up')).toBeVisible()
})

test('defaults of a project are kept', async ({ page }) => {
  await signIn(page, 'demo-defaults')
  await page.goto(`/projects/${PROJECT}/settings`)
  await page.getByLabel('When the agent asks').selectOption('ask')
  await page.getByRole('button', { name: 'Save' }).click()
  await expect(page.getByText('Saved')).toBeVisible()
  await page.goto(`/projects/${PROJECT}`)
  await expect(page.getByLabel('Permissions')).toHaveValue('ask')
})

test('a variable is added, replaced and removed; a secret one is never shown', async ({ page }) => {
  await signIn(page, 'demo-variables')
  await page.goto(`/projects/${PROJECT}/settings`)
  const section = page.getByRole('region', { name: 'Environment variables' })
  const [name, value] = [section.getByLabel('Variable', { exact: true }), section.getByLabel('Value', { exact: true })]
  await name.fill('1ST')
  await section.getByRole('button', { name: 'Add variable' }).click()
  await expect(section.getByRole('alert')).toContainText('begins with no digit')

  await name.fill('API_TOKEN')
  await value.fill('swordfish')
  await section.getByRole('button', { name: 'Add variable' }).click()
  const lines = section.getByRole('list', { name: 'Variables' }).getByRole('listitem')
  await expect(lines).toHaveText([/API_TOKEN.*secret, cannot be read again/])
  await expect(value).toHaveValue('')
  await expect(page.getByText('swordfish')).toHaveCount(0)

  await name.fill('COLOUR')
  await value.fill('red')
  await section.getByRole('radio', { name: 'Can be read here' }).check()
  await section.getByRole('button', { name: 'Add variable' }).click()
  await expect(lines).toHaveText([/API_TOKEN/, /COLOUR.*red/])
  await section.getByRole('button', { name: 'Replace COLOUR' }).click()
  await expect(value).toHaveValue('red')
  await value.fill('blue')
  await section.getByRole('button', { name: 'Replace variable' }).click()
  await expect(lines).toHaveText([/API_TOKEN/, /COLOUR.*blue/])

  await section.getByRole('button', { name: 'Remove API_TOKEN' }).click()
  await expect(lines).toHaveText([/COLOUR.*blue/])
})
