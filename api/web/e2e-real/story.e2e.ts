// What a person does, from the printed link to the branch, with nothing simulated: server, node, container, git.

import { readFileSync } from 'node:fs'
import { type BrowserContext, type Locator, type Page, expect, test } from '@playwright/test'
import { Repository, Sam } from './sam'

test.describe.configure({ mode: 'serial' })

let sam: Sam
let browser: BrowserContext
let page: Page
let repository: Repository
let project = ''

test.beforeAll(async ({ browser: chromium }) => {
  test.setTimeout(300_000)
  sam = await Sam.start()
  repository = new Repository(sam.folder, 'thing')
  browser = await chromium.newContext({ baseURL: sam.origin })
})

test.beforeEach(async () => {
  page = await browser.newPage()
})

test.afterEach(async () => {
  const { status, expectedStatus } = test.info()
  if (status !== expectedStatus) {
    await test.info().attach('page', { body: await page.screenshot(), contentType: 'image/png' })
    await test.info().attach('sam', { body: sam.said, contentType: 'text/plain' })
  }
  await page.close()
})

test.afterAll(async () => {
  test.setTimeout(300_000)
  await browser.close()
  await sam.remove()
})

test('the printed link signs in, once', async () => {
  await page.goto('/')
  await expect(page.getByText('Open the sign-in link that SAM printed')).toBeVisible()
  await page.goto(sam.link)
  await expect(page.getByRole('heading', { name: 'Dashboard' })).toBeVisible()
  sam.belongsTo(
    await page.evaluate(async () => {
      const answer = await fetch('/api/auth/session')
      return ((await answer.json()) as { installation: string }).installation
    }),
  )

})

test('a link that was used tells another browser where to get a new one', async ({ page: other }) => {
  await other.goto(sam.link)
  await expect(other.getByText('This link does not work any more.')).toBeVisible()
})

test('the sample idea becomes a branch without anything of one’s own', async () => {
  await page.goto('/')
  await page.getByRole('button', { name: 'Run a sample idea' }).click()
  await page.waitForURL(/\/sessions\//)
  const steps = page.getByRole('list', { name: 'Steps' })
  await expect(steps.getByText('Create the workspace')).toBeVisible()
  await isDone()
  await expect(page.getByText('Demo', { exact: true }).first()).toBeVisible()
  await expect(answer('Done. See HELLO.md.')).toBeVisible()
  await page.getByRole('link', { name: 'View diff' }).click()
  await expect(page.getByRole('cell', { name: 'Hello from SAM.' })).toBeVisible()
})

test('a repository is linked', async () => {
  await page.goto('/projects/new')
  await page.getByLabel('Repository').fill(repository.path)
  await page.getByLabel('Name').fill('Thing')
  await page.getByRole('button', { name: 'Create project' }).click()
  await expect(page.getByRole('heading', { name: 'Thing' })).toBeVisible()
  await expect(page.getByText('Demo agent.')).toBeVisible()
  project = new URL(page.url()).pathname
})

test('an idea is watched, permitted, followed up, and found in the repository', async () => {
  await send(
    [
      'plan: Look round; Ask; Write',
      'run: cat README.md',
      'ask: May I write a file?',
      'write HELLO.md: Hello from the browser.',
      'say: It is **written**.',
    ].join('\n'),
    { permissions: 'ask' },
  )
  const ask = page.getByRole('region', { name: 'Permission needed' })
  await expect(ask).toContainText('May I write a file?')
  await expect(page.getByText('Plan', { exact: true })).toBeVisible()
  await page.reload()
  await ask.getByRole('button', { name: 'Allow', exact: true }).click()
  await expect(page.getByText('(by you)')).toBeVisible()
  await expect(ask).toBeHidden()
  await expect(answer('It is written.')).toBeVisible()
  await isDone()
  await expect(page.getByText('1 file', { exact: false }).last()).toBeVisible()

  const branch = repository.branches().find((name) => name.startsWith('sam/'))
  expect(branch).toBeDefined()
  await expect(page.getByText(String(branch)).first()).toBeVisible()
  expect(repository.file(String(branch), 'HELLO.md')).toBe('Hello from the browser.\n')

  await page.getByRole('group').getByText('cat README.md').click()
  await expect(page.getByText('A repository to try SAM on.')).toBeVisible()

  await page.getByLabel('Follow-up').fill('write AGAIN.md: And a second time.\nsay: And again.')
  await page.keyboard.press('Control+Enter')
  await expect(answer('And again.')).toBeVisible()
  await expect(page.getByText('Finishing', { exact: true })).toBeHidden()
  await isDone()
  expect(repository.file(String(branch), 'AGAIN.md')).toBe('And a second time.\n')
  expect(repository.file(String(branch), 'HELLO.md')).toBe('Hello from the browser.\n')
  await page.getByRole('link', { name: 'View diff' }).last().click()
  await expect(page.getByRole('cell', { name: 'And a second time.' })).toBeVisible()
})

test('an execution is gone through again, moment by moment', async () => {
  await page.goto(`${project}/activity`)
  await page.getByRole('region', { name: 'Today' }).getByRole('link').filter({ hasText: /push|done|finish/i }).first().click()
  const states = page.getByRole('region', { name: 'States at this moment' })
  const chat = page.getByRole('region', { name: 'Chat at this moment' })
  await expect(states.getByRole('strong').filter({ hasText: /^execution$/ })).toBeVisible()
  await page.getByRole('button', { name: 'To the end' }).click()
  const phases = page.getByRole('list', { name: 'Phases' })
  await expect(phases.getByRole('button', { name: /^Create the workspace, done, / })).toBeVisible()
  await expect(phases.getByRole('button', { name: /^Run, done, / })).toBeVisible()
  await expect(phases.getByRole('button', { name: /^Push, done, / })).toBeVisible()

  const slider = page.getByRole('slider', { name: 'Position in the execution' })
  await slider.focus()
  await page.keyboard.press('Home')
  await page.keyboard.press('ArrowRight')
  await expect(states.getByRole('strong').filter({ hasText: /^idea$/ })).toBeVisible()
  await expect(chat.getByText('And again.')).toHaveCount(0)
  const events = page.getByRole('region', { name: 'Events', exact: true })
  await events.getByRole('button', { name: /^Git/ }).click()
  await events.getByRole('listitem').last().locator('.event-summary').click()
  await expect(chat.getByRole('article', { name: 'Answer' }).filter({ hasText: 'And again.' })).toBeVisible()
  await expect(page).toHaveURL(/\?at=\d+$/)
  await page.reload()
  await expect(chat.getByRole('article', { name: 'Answer' }).filter({ hasText: 'And again.' })).toBeVisible()
})

test('what was said is found and opened where it was said', async () => {
  await page.goto('/search')
  await page.getByRole('searchbox').fill('written')
  const hits = page.getByRole('list', { name: 'Found messages' })
  await hits.getByRole('link').filter({ hasText: 'It is written' }).first().click()
  await expect(page.locator('.transcript-row[aria-current]')).toContainText('It is written.')
  await expect(page.locator('.transcript-row[aria-current]')).toBeInViewport()
})

test('a repository that is not there is named as the reason', async () => {
  await page.goto('/projects/new')
  await page.getByLabel('Repository').fill(`${repository.path}-missing`)
  await page.getByLabel('Name').fill('Missing')
  await page.getByRole('button', { name: 'Create project' }).click()
  await expect(page.getByRole('heading', { name: 'Missing' })).toBeVisible()
  await page.getByLabel('Your idea').fill('say: Nobody will hear this.')
  await page.getByRole('button', { name: 'Send' }).click()
  await page.waitForURL(/\/sessions\//)
  const result = page.getByRole('region', { name: 'Result' })
  await expect(result.getByRole('heading', { name: 'Failed' })).toBeVisible()
  await expect(result).toContainText('thing.git-missing')
})

test('a prompt that was lost with its container waits for a decision', async () => {
  await send('stream: 600 10\nsay: On we go.')
  await expect.poll(numbers).toContain(5)
  sam.killNewestContainer()
  const ask = page.getByRole('region', { name: 'Needs your decision' })
  await expect(ask).toBeVisible()
  await page.goto('/')
  await page.getByRole('link', { name: /Needs you/ }).click()
  await ask.getByRole('button', { name: 'Park it' }).click()
  await expect(page.getByRole('region', { name: 'Result' }).getByRole('heading', { name: 'Failed' })).toBeVisible()
})

test('a text that streams is whole after a reload and after the server was killed', async () => {
  const n_chunks = 240
  await send(`stream: ${n_chunks} 12\nsay: The end.`)
  await expect.poll(numbers).toContain(5)
  await page.reload()
  await expect.poll(numbers).toContain(60)
  await sam.end('SIGKILL')
  await expect(page.getByText(/reconnecting/i).first()).toBeVisible()
  await sam.resume()
  await expect(answer('The end.')).toBeVisible()
  expect(await numbers()).toEqual(Array.from({ length: n_chunks }, (_, number) => number))
  await isDone()
  await page.reload()
  await expect(answer('The end.')).toBeVisible()
  expect(await numbers()).toEqual(Array.from({ length: n_chunks }, (_, number) => number))
})

test('what hangs is cancelled, what fails says why and is retried', async () => {
  await send('hang')
  await expect(page.getByText('The agent is at work')).toBeVisible()
  await page.getByRole('button', { name: 'Cancel' }).click()
  await expect(page.getByRole('heading', { name: 'Cancelled' })).toBeVisible()

  await send('fail: out of ideas')
  const result = page.getByRole('region', { name: 'Result' })
  await expect(result.getByRole('heading', { name: 'Failed' })).toBeVisible()
  await expect(result).toContainText('out of ideas')
  await page.getByRole('button', { name: 'Retry' }).click()
  await expect(result).toBeHidden()
  await expect(result.getByRole('heading', { name: 'Failed' })).toBeVisible()
})

test('a draft is moved on the board, executed, and found by the palette', async () => {
  await page.goto(`${project}/ideas`)
  await page.getByRole('button', { name: 'New draft' }).click()
  await page.getByLabel('What could be done').fill('say: From the board.')
  await page.getByRole('button', { name: 'Save draft' }).click()
  const card = page.getByRole('listitem').filter({ hasText: 'say: From the board.' })
  const column = (name: string) => page.getByRole('region', { name })
  await expect(column('Exploring').getByText('say: From the board.')).toBeVisible()
  await card.getByRole('button', { name: /^Actions/ }).click()
  await page.getByRole('menuitem', { name: 'Move to Ready' }).click()
  await expect(column('Ready').getByText('say: From the board.')).toBeVisible()
  await card.getByRole('button', { name: /^Actions/ }).click()
  await page.getByRole('menuitem', { name: 'Execute' }).click()
  await page.waitForURL(/\/sessions\//)
  await isDone()
  await page.keyboard.press('Control+k')
  await page.getByRole('combobox', { name: 'Search or jump to' }).fill('Thing board')
  await page.keyboard.press('Enter')
  await expect(column('Done').getByText('say: From the board.')).toBeVisible()
  await expect(column('Parked').getByText('fail: out of ideas').first()).toBeVisible()
})

test('a key is kept without being shown, defaults are kept, the node is seen and stopped', async () => {
  await page.goto('/settings')
  await page.getByLabel('Key', { exact: true }).fill('sk-ant-secret-of-this-test-1234')
  await page.getByRole('button', { name: 'Save key' }).click()
  await expect(page.getByText('…1234')).toBeVisible()
  await expect(page.getByText('sk-ant-secret')).toHaveCount(0)
  await page.getByRole('button', { name: 'Remove' }).click()
  await expect(page.getByText('Not set up')).toBeVisible()

  await page.goto(`${project}/settings`)
  await page.getByLabel('When the agent asks').selectOption('ask')
  await page.getByRole('button', { name: 'Save' }).click()
  await expect(page.getByText('Saved')).toBeVisible()
  await page.goto(project)
  await expect(page.getByLabel('Permissions')).toHaveValue('ask')

  await page.goto('/nodes')
  await page.getByRole('button', { name: 'Stop' }).first().click()
  await expect(page.getByText('Stopped', { exact: true }).first()).toBeVisible()
})

test('who did what is listed, and the log is intact', async () => {
  await page.goto('/settings/audit')
  await page.getByLabel('Kind').selectOption('project')
  await expect(page.getByRole('table').getByRole('row').filter({ hasText: /linked/i }).first()).toBeVisible()
  await page.getByRole('button', { name: 'Verify now' }).click()
  const heads = page.getByRole('region', { name: 'Signed heads' })
  await expect(heads.getByText('Intact', { exact: true })).toBeVisible()
  await expect(heads.getByText('What verifying cannot find')).toBeVisible()
  const download = page.waitForEvent('download')
  await page.getByRole('link', { name: 'NDJSON' }).click()
  const lines = readFileSync(await (await download).path(), 'utf8').trim().split('\n')
  expect(lines.map((line) => (JSON.parse(line) as { kind: string }).kind)).toContain('project')
  await page.goto('/settings/system')
  await expect(page.getByText('Running', { exact: true }).first()).toBeVisible()
  await expect(page.getByText('Parked', { exact: true })).toHaveCount(0)
})

test('a project is erased by its name, and nothing of it is found again', async () => {
  await page.goto(`${project}/settings`)
  await page.getByLabel('Type Thing to confirm').fill('Thing')
  await page.getByRole('button', { name: 'Erase for ever' }).click()
  await page.waitForURL(/\/projects$/)
  // The list is there; and its words are compared whole, for repositories have "thing" in their names too.
  await expect(page.getByText('Missing', { exact: true })).toBeVisible()
  await expect(page.getByText('Thing', { exact: true })).toHaveCount(0)
  await page.goto('/search?q=written')
  await expect(page.getByText('Nobody said that.')).toBeVisible()
})

/** Writes an idea in the linked project and sends it off. */
async function send(text: string, options: { permissions?: string } = {}): Promise<void> {
  await page.goto(project)
  await page.getByLabel('Your idea').fill(text)
  await page.getByLabel('Permissions').selectOption(options.permissions ?? 'allow')
  await page.getByRole('button', { name: 'Send' }).click()
  await page.waitForURL(/\/sessions\//)
}

async function isDone(): Promise<void> {
  await expect(page.getByRole('heading', { name: /^Done/ })).toBeVisible()
}

/** What the agent said, in the open conversation. */
function answer(text: string): Locator {
  return page.getByRole('article', { name: 'Answer' }).filter({ hasText: text }).last()
}

/** The numbers of the demo's `stream`, as they stand on the page: each is followed by its time. */
async function numbers(): Promise<number[]> {
  const texts = await page.getByRole('article', { name: 'Answer' }).allTextContents()
  return [...texts.join('\n').matchAll(/(\d+) \d{16}/g)].map((found) => Number(found[1]))
}
