// Looks at the pages of a real server with a story on them. Not a test of anything but eyes; the README's
// picture comes from here.

import { type Browser, type Page, expect, test } from '@playwright/test'
import { Sam } from './sam'

const FOLDER = process.env['SAM_SCREENSHOTS'] ?? 'test-results/real-screenshots'
const WIDTHS = [
  { name: 'wide', width: 1280, height: 800 },
  { name: 'narrow', width: 375, height: 760 },
]

const STORY = [
  'Greet people in French, too: a table of words, one more argument for greeting(), and a look at both.',
  '',
  'plan: Read what is there; Say how; Keep the words in a table; Let the caller choose; Ask; Look at it',
  'run: cat hello.py',
  'say: The greeting is built in one place, `greeting(name)`, so a second language needs a **table of words** and one more argument.',
  'write words.py: WORDS = {"en": "Hello", "fr": "Bonjour"}',
  'write hello.py: """Greets whoever is named on the command line."""\\n\\nimport sys\\n\\nfrom words import WORDS\\n\\n\\ndef greeting(name, language="en"):\\n    return f"{WORDS[language]}, {name}!"\\n\\n\\nif __name__ == "__main__":\\n    print(greeting(" ".join(sys.argv[1:]) or "World"))',
  'ask: May I look at what changed?',
  'run: git status --short && git diff --stat',
  'say: `greeting("Ada", "fr")` now says **Bonjour, Ada!**, and without a language everything is as it was.',
].join('\n')

test('pictures', async ({ browser }) => {
  const sam = await Sam.start()
  try {
    await pictures(browser, sam)
  } finally {
    await sam.remove()
  }
})

async function pictures(browser: Browser, sam: Sam): Promise<void> {
  const context = await browser.newContext({ baseURL: sam.origin })
  const page = await context.newPage()
  await page.goto(sam.link)
  await page.getByText('See an idea become a branch').waitFor()
  sam.belongsTo(
    await page.evaluate(async () => {
      const answer = await fetch('/api/auth/session')
      return ((await answer.json()) as { installation: string }).installation
    }),
  )
  await shootAll(page, 'empty')
  await page.getByRole('button', { name: 'Run a sample idea' }).click()
  await page.waitForURL(/\/sessions\//)
  await expect(page.getByRole('heading', { name: /^Done/ })).toBeVisible()
  const project = new URL(page.url()).pathname.split('/sessions/')[0] ?? ''

  await send(page, project, 'fail: the tests do not pass')
  await page.getByRole('heading', { name: 'Failed' }).waitFor()
  await shootAll(page, 'failed')
  await draft(page, project, 'Add a --shout flag that greets in capitals')
  await draft(page, project, 'Say goodbye, too')

  await page.goto(project)
  await page.getByLabel('Permissions').selectOption('ask')
  await shootAll(page, 'new-idea')
  await page.getByLabel('Your idea').fill(STORY)
  await page.getByRole('button', { name: 'Send' }).click()
  await page.waitForURL(/\/sessions\//)
  const ask = page.getByRole('region', { name: 'Permission needed' })
  await ask.waitFor()
  await shootAll(page, 'permission')
  await page.goto('/')
  await page.getByText('Needs you').waitFor()
  await shootAll(page, 'dashboard')
  await page.getByRole('link', { name: /Needs you/ }).click()
  await ask.getByRole('button', { name: 'Allow', exact: true }).click()
  await expect(page.getByRole('heading', { name: /^Done/ })).toBeVisible()
  await shootAll(page, 'done')
  await page.getByRole('link', { name: 'View diff' }).click()
  await page.waitForURL(/\/changes$/)
  await shootAll(page, 'changes')
  await page.goto(page.url().replace(/\/changes$/, ''))
  await page.getByText('Find a node').waitFor()
  await shootAll(page, 'execution')
  for (const [what, path] of [
    ['board', `${project}/ideas`],
    ['project-settings', `${project}/settings`],
    ['nodes', '/nodes'],
    ['system', '/settings/system'],
    ['settings', '/settings'],
  ] as const) {
    await page.goto(path)
    await shootAll(page, what)
  }
  await page.keyboard.press('Control+k')
  await shootAll(page, 'palette')
  await context.close()
}

async function send(page: Page, project: string, text: string): Promise<void> {
  await page.goto(project)
  await page.getByLabel('Your idea').fill(text)
  await page.getByRole('button', { name: 'Send' }).click()
  await page.waitForURL(/\/sessions\//)
}

async function draft(page: Page, project: string, text: string): Promise<void> {
  await page.goto(`${project}/ideas`)
  await page.getByRole('button', { name: 'New draft' }).click()
  await page.getByLabel('What could be done').fill(text)
  await page.getByRole('button', { name: 'Save draft' }).click()
  await page.getByRole('button', { name: `Actions for ${text}` }).waitFor()
}

async function shootAll(page: Page, what: string): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    for (const { name, ...viewport } of WIDTHS) {
      await page.emulateMedia({ colorScheme })
      await page.setViewportSize(viewport)
      await page.waitForTimeout(250) // Pictures only: let fonts and heights settle.
      await page.screenshot({ path: `${FOLDER}/${what}-${colorScheme}-${name}.png` })
    }
  }
}
