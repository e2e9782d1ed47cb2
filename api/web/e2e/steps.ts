import { expect, type Locator, type Page } from '@playwright/test'
import { PROJECT } from '../mock/seed'

/** Signs in to a world of its own; tokens that begin with `demo` have a past, with `empty` none. */
export async function signIn(page: Page, token: string): Promise<void> {
  // Addresses that differ in their hash only do not load the page again.
  await page.goto('about:blank')
  await page.goto(`/sign-in#${token}`)
  await page.getByRole('heading', { name: 'Dashboard' }).waitFor()
}

/** Writes an idea in the seeded project and sends it off. */
export async function sendIdea(page: Page, text: string, options: { permissions?: string } = {}): Promise<void> {
  await page.goto(`/projects/${PROJECT}`)
  await page.getByLabel('Your idea').fill(text)
  if (options.permissions !== undefined) await page.getByLabel('Permissions').selectOption(options.permissions)
  await page.getByRole('button', { name: 'Send' }).click()
  await page.waitForURL(/\/sessions\//)
}

/** Goes somewhere by two keys. They count together within a second only: on a slow machine, once more. */
export async function pressChord(page: Page, keys: string, arrival: Locator): Promise<void> {
  await expect(async () => {
    await page.keyboard.type(keys)
    await expect(arrival).toBeVisible({ timeout: 5_000 })
  }).toPass()
}

/** What the agent said, in the open conversation. */
export function answer(page: Page, text: string): Locator {
  return page.getByRole('article', { name: 'Answer' }).getByText(text, { exact: true })
}
