// The account of an execution: phases, events, causes, and any moment of it again.

import { expect, type Page, test } from '@playwright/test'
import { DONE_EXECUTION } from '../mock/seed'
import { sendIdea, signIn } from './steps'

test('an execution opens with its phases and events, attempts marked', async ({ page }) => {
  await open(page, 'demo-timeline')
  const phases = page.getByRole('list', { name: 'Phases' })
  await expect(phases.getByRole('button', { name: /^Create the workspace, failed, .*connection reset/ })).toBeVisible()
  await expect(phases.getByRole('button', { name: /^Create the workspace, attempt 2, done, / })).toBeVisible()
  await expect(phases.getByText('2 attempts')).toBeVisible()
  await expect(page.getByText('A workspace was placed on local')).toBeVisible()
  await expect(page.getByText('tried again, 2nd time').first()).toBeVisible()
})

test('the phases are gone through by keyboard', async ({ page }) => {
  await open(page, 'demo-timeline-keys')
  const bars = page.getByRole('list', { name: 'Phases' }).getByRole('button')
  await bars.first().focus()
  await page.keyboard.press('End')
  await expect(bars.last()).toBeFocused()
  await page.keyboard.press('ArrowLeft')
  await expect(bars.nth(-2)).toBeFocused()
  await page.keyboard.press('Enter')
  await expect(page).toHaveURL(/\?at=\d+$/)
  await page.keyboard.press('Tab')
  await expect(bars.nth(-2)).not.toBeFocused()
  await expect(page.getByRole('list', { name: 'Phases' }).locator(':focus')).toHaveCount(0)
})

test('the scrubber shows states and chat at a moment, and its link leads back there', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await open(page, 'demo-scrub')
  const slider = page.getByRole('slider', { name: 'Position in the execution' })
  await slider.focus()
  await page.keyboard.press('Home')
  const states = page.getByRole('region', { name: 'States at this moment' })
  const chat = page.getByRole('region', { name: 'Chat at this moment' })
  await expect(states.getByText('idea', { exact: true })).toBeVisible()
  await expect(chat.getByText('Nothing had been said.')).toBeVisible()

  for (let presses = 0; presses < 12; presses += 1) await page.keyboard.press('ArrowRight')
  await expect(chat.getByText('Show wind speed in knots, beside metres per second.')).toBeVisible()
  await expect(chat.getByText('the factor is')).toHaveCount(0)
  await expect(states.getByText('changed').first()).toBeVisible()
  await page.getByRole('button', { name: 'Next event' }).click()
  await page.getByRole('button', { name: 'Previous event' }).click()

  await page.getByRole('button', { name: 'Copy the link to this moment' }).click()
  const copied = () => page.evaluate(() => navigator.clipboard.readText())
  await expect.poll(copied).toMatch(/\?at=\d+$/)
  const address = await copied()
  await expect(page).toHaveURL(address)
  await page.goto('/')
  await page.goto(address)
  await expect(chat.getByText('Show wind speed in knots, beside metres per second.')).toBeVisible()
  await page.getByRole('button', { name: 'To the end' }).click()
  await expect(states).toBeHidden()
  await expect(page).not.toHaveURL(/at=/)
})

test('events are filtered by kind, and a cause is found behind the filter', async ({ page }) => {
  await open(page, 'demo-filter')
  const events = page.getByRole('region', { name: 'Events', exact: true })
  await events.getByRole('button', { name: /^Git/ }).click()
  await expect(events.getByText('A workspace was placed on local')).toBeHidden()
  const rows = events.getByRole('listitem')
  await expect(rows.first()).toContainText('Checked out')
  await rows.first().getByRole('button', { name: /^Go to its cause/ }).click()
  await expect(events.getByRole('button', { name: /^All/ })).toHaveAttribute('aria-pressed', 'true')
  await expect(events.locator('[aria-current]')).toContainText('sam-base:1 runs')
})

test('a running execution is followed until it is done', async ({ page, context }) => {
  await signIn(page, 'demo-follow')
  // It runs until the question is answered: in another tab, so that this one goes on following.
  await sendIdea(page, 'ask: Go on?\nsay: The end of it.', { permissions: 'ask' })
  const conversation = page.url()
  await page.getByTitle('Timeline and changes').click()
  await expect(page.getByText('Now, following')).toBeVisible()
  await expect(page.getByRole('list', { name: 'Phases' }).getByRole('button', { name: /^Run, now/ })).toBeVisible()
  const another = await context.newPage()
  await another.goto(conversation)
  await another.getByRole('button', { name: 'Allow once' }).click()
  const events = page.getByRole('region', { name: 'Events', exact: true })
  await expect(events.getByRole('button', { name: 'The end of it.', exact: true })).toBeVisible()
  await expect(page.getByText('At the end')).toBeVisible()
})

test('changes stay on their own tab', async ({ page }) => {
  await open(page, 'demo-changes')
  await page.getByRole('link', { name: 'Changes' }).click()
  await expect(page.getByRole('navigation', { name: 'Changed files' }).getByRole('link')).toHaveCount(2)
  await expect(page.getByText('Cover the conversion with tests')).toBeVisible()
})

async function open(page: Page, token: string): Promise<void> {
  await signIn(page, token)
  await page.goto(`/executions/${DONE_EXECUTION}`)
  await page.getByRole('list', { name: 'Phases' }).waitFor()
}
