// How the page behaves: by keyboard, at length, on a small screen, and when the connection breaks.

import { gzipSync } from 'node:zlib'
import { expect, type Locator, type Page, test, type WebSocketRoute } from '@playwright/test'
import { DONE_EXECUTION, LONG_SESSION, PROJECT } from '../mock/seed'
import { answer, pressChord, sendIdea, signIn } from './steps'

/** Code and styles that are fetched before the dashboard stands there, compressed. */
const FIRST_PAGE_BYTES_MAX = 150_000

test('the palette, the help and the board work by keyboard alone', async ({ page }) => {
  await signIn(page, 'demo-keyboard')
  await page.keyboard.press('Control+k')
  await page.keyboard.type('weather board')
  await expect(page.getByRole('option', { name: 'weather-station ideas board' })).toBeVisible()
  await page.keyboard.press('Enter')
  await expect(page).toHaveURL(/\/ideas$/)

  await page.keyboard.press('?')
  await expect(page.getByRole('dialog', { name: 'Keyboard shortcuts' })).toBeVisible()
  await page.keyboard.press('Escape')

  const ready = page.getByRole('region', { name: 'Ready' })
  await page.getByRole('button', { name: /^Describe the wiring/ }).focus()
  await page.keyboard.press(']')
  await expect(ready.getByText('Describe the wiring')).toBeVisible()

  await page.keyboard.press('/')
  await page.keyboard.type('humidity')
  await expect(page.getByText('Retry uploads')).toBeHidden()
  await page.keyboard.press('Tab')

  await pressChord(page, 'gp', page.getByRole('heading', { name: 'Projects' }))
  await page.keyboard.press('j')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { name: 'What should be done?' })).toBeVisible()
  await page.keyboard.press('c')
  await expect(page.getByLabel('Your idea')).toBeFocused()
})

test('what changes between the first reads and the first word of the live feed is seen', async ({ page }) => {
  await signIn(page, 'demo-first-word')
  const waiting: WebSocketRoute[] = []
  await page.routeWebSocket('**/api/live*', (socket) => {
    waiting.push(socket)
  })
  await page.goto('/projects')
  const project = page.getByRole('main').getByText('Renamed meanwhile')
  await expect(page.getByRole('main').getByRole('link').first()).toBeVisible()
  const answer = await page.request.patch(`/api/projects/${PROJECT}`, { data: { name: 'Renamed meanwhile' } })
  expect(answer.ok()).toBe(true)
  await expect(project).toHaveCount(0)
  for (const socket of waiting) socket.connectToServer()
  await expect(project).toBeVisible()
})

test('a draft is noted, edited and executed from the board', async ({ page }) => {
  await signIn(page, 'demo-board')
  await page.goto(`/projects/${PROJECT}/ideas`)
  await page.getByRole('button', { name: 'New draft' }).click()
  await page.getByLabel('What could be done').fill('say: From the board.')
  await page.keyboard.press('Control+Enter')
  await page.getByRole('button', { name: /^say: From the board/ }).click()
  await page.getByLabel('Description').fill('say: From the board, edited.')
  await page.getByRole('button', { name: 'Execute' }).click()
  await expect(answer(page, 'From the board, edited.')).toBeVisible()
})

test('an idea is dragged where it may go, and nowhere else', async ({ page }) => {
  await signIn(page, 'demo-drag')
  await page.goto(`/projects/${PROJECT}/ideas`)
  const column = (name: string) => page.getByRole('region', { name })
  const card = page.getByRole('button', { name: /^Log humidity/ })
  await drag(page, card, column('Done'))
  await expect(column('Exploring').getByText('Log humidity')).toBeVisible()
  await drag(page, card, column('Ready'))
  await expect(column('Ready').getByText('Log humidity')).toBeVisible()
  await expect(page.getByRole('dialog')).toBeHidden()
})

test('the first page is small', async ({ request }) => {
  const page = await (await request.get('/')).text()
  const files = [...page.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, file = '']) => file)
  expect(files.some((file) => file.endsWith('.js'))).toBe(true)
  expect(files.some((file) => file.endsWith('.css'))).toBe(true)
  let bytes = 0
  for (const file of files) bytes += gzipSync(await (await request.get(file)).body()).length
  expect(bytes).toBeLessThan(FIRST_PAGE_BYTES_MAX)
})

test('what is typed survives leaving the page', async ({ page }) => {
  await signIn(page, 'demo-draft')
  await page.goto(`/projects/${PROJECT}`)
  await page.getByLabel('Your idea').fill('half a thought')
  await page.goto('/')
  await page.goto(`/projects/${PROJECT}`)
  await expect(page.getByLabel('Your idea')).toHaveValue('half a thought')
})

test('a long conversation opens at its end, and older pages keep the place', async ({ page }) => {
  await signIn(page, 'demo-long')
  // Older pages are held back until the place is known: otherwise the wheel has left it before a slow page is drawn.
  const isPlaceKnown = Promise.withResolvers<undefined>()
  await page.route(/\/items\?before=/, async (route) => {
    await isPlaceKnown.promise
    await route.continue()
  })
  await page.goto(`/projects/${PROJECT}/sessions/${LONG_SESSION}`)
  await expect(page.getByText(/^Answer 600\./)).toBeVisible()
  expect(await page.locator('.transcript-row').count()).toBeLessThan(60)

  const transcript = page.getByRole('log')
  await transcript.hover()
  // The oldest of the first page is 501; above it the next page has to come by itself.
  await expect(async () => {
    await page.mouse.wheel(0, -900)
    expect(await transcript.evaluate((log) => log.scrollTop)).toBe(0)
  }).toPass()
  const oldest = page.getByText('Question 501', { exact: true })
  await expect(oldest).toBeInViewport()
  const top = async () => (await oldest.boundingBox())?.y ?? Number.NaN
  const place = await top()
  isPlaceKnown.resolve(undefined)
  await expect(page.getByText('Question 497', { exact: true })).toBeVisible()
  await expect.poll(async () => Math.abs((await top()) - place)).toBeLessThan(5)
  await page.getByRole('button', { name: 'Newest' }).click()
  await expect(page.getByText(/^Answer 600\./)).toBeVisible()
})

test('a streaming answer stays in sight, and scrolling up lets go of it', async ({ page }) => {
  await signIn(page, 'demo-stream')
  // A question keeps the page quiet for the wheel: one that is busy for 400 ms takes it for the browser's own scrolling.
  await sendIdea(page, 'stream: 800 400\nask: Go on?\nstream: 900 400', { permissions: 'ask' })
  await expect(page.getByText('word799')).toBeVisible()
  const goOn = page.getByRole('button', { name: 'Allow once' })
  await expect(goOn).toBeVisible()
  const distance = () =>
    page.getByRole('log').evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight)
  await expect.poll(distance).toBeLessThan(60)
  await page.getByRole('log').hover()
  await page.mouse.wheel(0, -400)
  await expect.poll(distance).toBeGreaterThan(200)
  await goOn.click()
  await expect(page.getByText('word899')).toBeVisible()
  expect(await distance()).toBeGreaterThan(200)
})

test('a wheel turned up lets go of an answer, however busy the page is with it', async ({ page }) => {
  await signIn(page, 'demo-busy')
  await sendIdea(page, 'stream: 2500 400')
  await expect(page.getByText(/word800 /)).toBeVisible()
  const client = await page.context().newCDPSession(page)
  await client.send('Emulation.setCPUThrottlingRate', { rate: 12 })
  const log = page.getByRole('log')
  await log.hover()
  const distance = () => log.evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight)
  await page.mouse.wheel(0, -600)
  await expect.poll(distance).toBeGreaterThan(300)
  await client.send('Emulation.setCPUThrottlingRate', { rate: 1 })
  await expect(page.getByText(/word2499/)).toBeAttached()
  expect(await distance()).toBeGreaterThan(300)
})

test('a broken connection is said, and nothing is lost or doubled', async ({ page }) => {
  const sockets: { close: () => Promise<void> }[] = []
  let isBlocked = false
  await page.routeWebSocket(/\/api\/live/, (socket) => {
    if (isBlocked) {
      void socket.close()
      return
    }
    sockets.push(socket)
    socket.connectToServer()
  })
  await signIn(page, 'demo-broken')
  await sendIdea(page, 'stream: 600 200')
  await expect(page.getByText('word40 ')).toBeVisible()
  isBlocked = true
  for (const socket of sockets) await socket.close()
  await expect(page.getByText('Reconnecting to SAM')).toBeVisible()
  isBlocked = false
  await expect(page.getByText('Reconnecting to SAM')).toBeHidden()
  await expect(page.getByRole('heading', { name: 'Done' })).toBeVisible()
  const words = Array.from({ length: 600 }, (_, index) => `word${index}`).join(' ')
  await expect(page.getByRole('article', { name: 'Answer' })).toHaveText(words)
})

test('whoever was signed out elsewhere is asked to sign in, and the feed does not come back', async ({ page, context }) => {
  const sockets: WebSocketRoute[] = []
  await page.routeWebSocket(/\/api\/live/, (socket) => {
    sockets.push(socket)
    socket.connectToServer()
  })
  await signIn(page, 'demo-signed-out')
  await expect.poll(() => sockets.length).toBe(1)
  await context.clearCookies()
  await sockets[0]?.close({ code: 4401, reason: 'signed out' })
  await expect(page).toHaveURL(/\/sign-in$/)
  await expect(page.getByText('Open the sign-in link')).toBeVisible()
  expect(sockets).toHaveLength(1)
})

test('no page scrolls sideways at 375 px', async ({ page }) => {
  await page.setViewportSize({ width: 375, height: 700 })
  await signIn(page, 'demo-small')
  for (const path of ['/', '/projects', '/projects/new', `/projects/${PROJECT}`, `/projects/${PROJECT}/ideas`, `/projects/${PROJECT}/settings`, `/projects/${PROJECT}/sessions/${LONG_SESSION}`, `/projects/${PROJECT}/activity`, `/executions/${DONE_EXECUTION}`, `/executions/${DONE_EXECUTION}?at=60`, `/executions/${DONE_EXECUTION}/changes`, '/nodes', '/search?q=sensor', '/settings', '/settings/system', '/settings/audit']) {
    await page.goto(path)
    await expect(page.locator('h1')).toBeVisible()
    const overflow = await page.evaluate(() =>
      [document.documentElement, document.querySelector('main')].map((element) =>
        element === null ? 0 : element.scrollWidth - element.clientWidth,
      ),
    )
    expect(overflow, path).toEqual([0, 0])
  }
  await page.goto(`/projects/${PROJECT}`)
  await page.getByRole('button', { name: 'Conversations' }).click()
  await page.getByRole('link', { name: /A long conversation/ }).click()
  await expect(page.getByText(/^Answer 600\./)).toBeVisible()
})

test('a chosen theme is kept', async ({ page }) => {
  await signIn(page, 'demo-theme')
  await page.goto('/settings')
  await page.getByRole('radio', { name: 'Dark' }).check()
  await page.reload()
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark')
  await expect(page.getByRole('radio', { name: 'Dark' })).toBeChecked()
})

test('an unknown page and an unknown project say so', async ({ page }) => {
  await signIn(page, 'demo-unknown')
  await page.goto('/nowhere')
  await expect(page.getByText('There is no such page')).toBeVisible()
  await page.goto('/projects/00000000-0000-4000-8000-000000000000')
  await expect(page.getByText('There is nothing with this id.').first()).toBeVisible()
})

async function drag(page: Page, what: Locator, to: Locator): Promise<void> {
  const [from, target] = [await what.boundingBox(), await to.boundingBox()]
  if (from === null || target === null) throw new Error('it is not on the page')
  await page.mouse.move(from.x + 20, from.y + 10)
  await page.mouse.down()
  await page.mouse.move(target.x + target.width / 2, target.y + 60, { steps: 5 })
  await page.mouse.up()
}
