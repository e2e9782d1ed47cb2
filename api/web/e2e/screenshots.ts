// Looks at every page: light and dark, wide and narrow. Not a test of anything but eyes.

import { expect, type Page, test } from '@playwright/test'
import { DONE_EXECUTION, LONG_SESSION, PROJECT } from '../mock/seed'
import { signIn } from './steps'

const FOLDER = process.env['SAM_SCREENSHOTS'] ?? 'test-results/screenshots'
const WIDTHS = [
  { name: 'wide', width: 1280, height: 800 },
  { name: 'narrow', width: 375, height: 760 },
]

for (const colorScheme of ['light', 'dark'] as const) {
  for (const { name, width, height } of WIDTHS) {
    test.describe(`${colorScheme} ${name}`, () => {
      test.use({ colorScheme, viewport: { width, height } })
      const shoot = async (page: Page, what: string) => {
        await page.waitForTimeout(150) // Pictures only: let fonts and heights settle.
        await page.screenshot({ path: `${FOLDER}/${what}-${colorScheme}-${name}.png` })
      }

      test('pages', async ({ page }) => {
        await page.goto('/sign-in#used')
        await page.getByText('does not work any more').waitFor()
        await shoot(page, 'sign-in')
        await signIn(page, `empty-${colorScheme}-${name}`)
        await page.getByText('See an idea become a branch').waitFor()
        await shoot(page, 'empty')
        await signIn(page, `demo-${colorScheme}-${name}`)
        await shoot(page, 'dashboard')
        for (const [what, path] of [
          ['new-idea', `/projects/${PROJECT}`],
          ['board', `/projects/${PROJECT}/ideas`],
          ['project-settings', `/projects/${PROJECT}/settings`],
          ['long', `/projects/${PROJECT}/sessions/${LONG_SESSION}`],
          ['activity', `/projects/${PROJECT}/activity`],
          ['execution', `/executions/${DONE_EXECUTION}`],
          ['execution-moment', `/executions/${DONE_EXECUTION}?at=88`],
          ['execution-changes', `/executions/${DONE_EXECUTION}/changes`],
          ['search', '/search?q=sensor'],
          ['audit', '/settings/audit'],
          ['nodes', '/nodes'],
          ['settings', '/settings'],
          ['not-found', '/nowhere'],
        ] as const) {
          await page.goto(path)
          await page.waitForLoadState('networkidle').catch(() => undefined)
          await shoot(page, what)
          if (what.endsWith('settings')) {
            await page.getByRole('button', { name: 'Erase for ever' }).scrollIntoViewIfNeeded()
            await shoot(page, `${what}-end`)
          }
        }
        await page.keyboard.press('Control+k')
        await shoot(page, 'palette')
        await page.keyboard.type('metres')
        await page.getByRole('option', { name: /said in/ }).first().waitFor()
        await shoot(page, 'palette-found')
      })

      test('what went wrong', async ({ page }) => {
        await signIn(page, `demo-trouble-${colorScheme}-${name}`)
        await page.getByText('is parked').waitFor()
        await shoot(page, 'trouble-dashboard')
        await page.goto('/settings/system')
        await page.getByText('Damaged streams').waitFor()
        await shoot(page, 'trouble-system')
        await page.goto('/settings/audit')
        await page.getByRole('button', { name: 'Verify now' }).click()
        await page.getByText('What verifying').waitFor()
        await shoot(page, 'trouble-verdict')
      })

      test('an execution', async ({ page }) => {
        await signIn(page, `demo-run-${colorScheme}-${name}`)
        await page.goto(`/projects/${PROJECT}`)
        await page
          .getByLabel('Your idea')
          .fill('plan: Look round; Write it down; Check\nthink: First I look at what is there.\nread: README.md\nread: src/main.rs\nsay: There is a **readme**, so I add a greeting.\nwrite HELLO.md: Hello from SAM.\nask: Run the check?\nrun: cat HELLO.md\nsay: Done.')
        await page.getByLabel('Permissions').selectOption('ask')
        await page.getByRole('button', { name: 'Send' }).click()
        await page.getByText('Create the workspace').first().waitFor()
        await shoot(page, 'running-1-steps')
        await page.getByText('asks for permission').waitFor()
        await shoot(page, 'running-2-permission')
        await page.getByRole('button', { name: 'Allow once' }).click()
        await expect(page.getByRole('heading', { name: 'Done' })).toBeVisible()
        await shoot(page, 'running-3-done')
        await page.getByLabel('Follow-up').fill('lose')
        await page.getByRole('button', { name: 'Send' }).click()
        await page.getByText('Needs your decision').waitFor()
        await shoot(page, 'running-4-decision')
        await page.getByRole('button', { name: 'Park it' }).click()
        await page.getByRole('heading', { name: 'Failed' }).waitFor()
        await shoot(page, 'running-5-parked')
      })
    })
  }
}
