// Every page, for everybody: a screen reader, a phone, a dark room, a wrong link.

import AxeBuilder from '@axe-core/playwright'
import { watchFrames } from '../lib/frames.mjs'
import { expect, startFilm, test } from './fixtures.mjs'

const UNKNOWN = 'bafyr4if4ecivhqb6bs4q5ibdsq34krgn7yaavlldl3epm346gckpmfreeq'

/** name → {path, sign}; `sign` is there once the page is. */
const pages = (library) => ({
  'the library': { path: '/', sign: '[data-testid=work-card] img' },
  'a work': { path: `/w/${library.works['MP4 with the index first'].id}`, sign: 'h1' },
  'the node': { path: '/node', sign: '[data-testid=node-state]' },
  'the settings': { path: '/settings', sign: 'main :is(input, select)' },
  'an unknown work': { path: `/w/${UNKNOWN}`, sign: '[data-testid=error]' },
  'no page': { path: '/no/such/page', sign: '[data-testid=error]' },
})

async function open(page, library, name) {
  const { path, sign } = pages(library)[name]
  await page.goto(`${library.relay.origin}${path}`)
  await expect(page.locator(sign).first()).toBeVisible()
}

for (const colorScheme of ['light', 'dark']) {
  for (const name of ['the library', 'a work', 'the node', 'the settings', 'an unknown work', 'no page']) {
    test(`axe has no serious finding: ${name}, ${colorScheme}`, async ({ page, library }) => {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      await open(page, library, name)
      const { violations } = await new AxeBuilder({ page }).analyze()
      const serious = violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(' ')}`)
      expect(serious).toEqual([])
    })
  }
}

test('a work in the library shows its poster', async ({ page, library }) => {
  await open(page, library, 'the library')
  const poster = page.locator('[data-testid=work-card] img').first()
  await expect.poll(() => poster.evaluate((image) => image.complete && image.naturalWidth)).toBeGreaterThan(0)
  // Loaded is not shown: what stands in the middle of the card must be the picture.
  const shown = await poster.evaluate((image) => {
    const card = image.parentElement.getBoundingClientRect()
    return document.elementFromPoint(card.x + card.width / 2, card.y + card.height / 2) === image
  })
  expect(shown).toBe(true)
})

for (const width of [320, 390]) {
  test(`nothing scrolls sideways at ${width} pixels`, async ({ chrome, library }) => {
    const context = await chrome.newContext({ viewport: { width, height: 740 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 })
    await context.addInitScript(watchFrames)
    const page = await context.newPage()
    for (const name of Object.keys(pages(library))) {
      await open(page, library, name)
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      expect(wide, name).toBeLessThanOrEqual(0)
    }
    await context.close()
  })
}

for (const [name, id] of Object.entries({
  'an unknown id': UNKNOWN,
  'a malformed id': 'not-an-id',
  'a CIDv0': 'QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG',
  'an endless id': 'b'.repeat(2000),
  'markup for an id': '%3Cimg%20src%3Dx%20onerror%3D%22owned%3Dtrue%22%3E',
})) {
  test(`${name} gets the failure panel with a way on`, async ({ page, library }) => {
    await page.goto(`${library.relay.origin}/w/${id}`)
    const panel = page.getByTestId('error')
    await expect(panel).toHaveCount(1)
    await expect(panel).toBeVisible()
    expect((await panel.innerText()).length).toBeGreaterThan(20)
    await expect(panel.getByRole('button').or(panel.getByRole('link')).first()).toBeVisible()
    expect(await page.evaluate(() => window.owned)).toBeUndefined()
  })
}

test('other spellings of an id open the same work', async ({ page, library }) => {
  const { id } = library.works['MP4 with the index first']
  await page.goto(`${library.relay.origin}/w/${id.toUpperCase()}`)
  await startFilm(page)
})

test('the node page says that it is online and how', async ({ page, library }) => {
  await page.goto(`${library.relay.origin}/node`)
  await expect(page.getByTestId('node-state')).toContainText(/online/i, { timeout: 40_000 })
  await expect(page.locator('body')).toContainText(/webtransport/i)
})

test('the keyboard plays, seeks and mutes', async ({ page, library }) => {
  await page.goto(`${library.relay.origin}/w/${library.works['MP4 with the index first'].id}`)
  await startFilm(page)
  await page.evaluate(() => document.activeElement?.blur())
  const paused = () => page.evaluate(() => document.querySelector('video').paused)
  await page.keyboard.press('k')
  await expect.poll(paused).toBe(true)
  await page.keyboard.press('k')
  await expect.poll(paused).toBe(false)
  const muted = await page.evaluate(() => document.querySelector('video').muted)
  await page.keyboard.press('m')
  await expect.poll(() => page.evaluate(() => document.querySelector('video').muted)).toBe(!muted)
  const before = await page.evaluate(() => document.querySelector('video').currentTime)
  await page.keyboard.press('ArrowRight')
  await expect.poll(() => page.evaluate(() => document.querySelector('video').currentTime)).toBeGreaterThan(before + 2)
})

test('every page is reached with the keyboard alone', async ({ page, library }) => {
  await open(page, library, 'the library')
  const reached = new Set()
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press('Tab')
    const href = await page.evaluate(() => document.activeElement?.getAttribute('href'))
    if (href) reached.add(href)
  }
  for (const path of ['/node', '/settings']) expect([...reached]).toContain(path)
  expect([...reached].some((href) => href.startsWith('/w/'))).toBe(true)
})

test('the app can be installed', async ({ page, library }) => {
  await page.goto(library.relay.origin)
  await page.evaluate(() => navigator.serviceWorker.ready)
  const session = await page.context().newCDPSession(page)
  const { installabilityErrors } = await session.send('Page.getInstallabilityErrors')
  // A private window is never offered an installation, which is what the tests run in.
  expect(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== 'in-incognito')).toEqual([])
})

test('no page breaks its own content security policy', async ({ page, library }) => {
  const broken = []
  page.on('console', (message) => {
    // A source expression this browser does not know yet is no breach.
    if (/violates.*content security policy/i.test(message.text())) broken.push(message.text())
  })
  for (const name of Object.keys(pages(library))) await open(page, library, name)
  expect(broken).toEqual([])
})
