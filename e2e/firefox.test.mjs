// Firefox, driven over WebDriver BiDi: the first visit plays and seeks, the stream is the original's bytes, the second
// visit plays from the store.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import puppeteer from 'puppeteer-core'
import { watchFrames } from './lib/frames.mjs'
import { media, paddedMp4, sha256File, CHUNK_LEN } from './lib/media.mjs'
import { FIREFOX, cacheDir } from './lib/paths.mjs'
import { Relay } from './lib/relay.mjs'

/** Longest a step in the browser may take, in milliseconds. */
const PATIENCE_MS = 60_000

let relay
let firefox
let profile
const works = {}

before(async () => {
  relay = await Relay.create()
  for (const [name, path] of Object.entries({
    'index first': await media('index-first.mp4'),
    'index last': await media('index-last.mp4'),
    'VP9 WebM': await media('vp9.webm'),
    'one chunk and a byte': await paddedMp4(CHUNK_LEN + 1),
    '50 MB': await paddedMp4(50_000_000, 'long.mp4'),
  })) {
    const id = await relay.publish(path, { title: name })
    works[name] = { id, path, stream: `/stream/${id}/${(await relay.work(id)).files[0].path}` }
  }
  profile = await mkdtemp(join(cacheDir('profiles'), 'f-'))
  firefox = await puppeteer.launch({
    browser: 'firefox',
    executablePath: FIREFOX,
    headless: true,
    userDataDir: profile,
    protocolTimeout: PATIENCE_MS * 3,
    extraPrefsFirefox: {
      'media.autoplay.default': 0,
      'media.autoplay.blocking_policy': 0,
      'media.volume_scale': '0.0',
      'network.captive-portal-service.enabled': false,
      'network.connectivity-service.enabled': false,
    },
  })
}, { timeout: 180_000 })

after(async () => {
  await firefox?.close()
  await relay?.remove()
  if (profile) await rm(profile, { recursive: true, force: true, maxRetries: 5 })
})

/** A tab that sees its frames. */
async function tab() {
  const page = await firefox.newPage()
  page.setDefaultTimeout(PATIENCE_MS)
  await page.evaluateOnNewDocument(watchFrames)
  return page
}

async function play(page, name) {
  await page.goto(`${relay.origin}/w/${works[name].id}`, { waitUntil: 'domcontentloaded' })
  await page.waitForSelector('video')
  await page.evaluate(() => {
    const video = document.querySelector('video')
    video.muted = true
    video.play().catch(() => {})
  })
  await page.evaluate(() => window.__frames.first())
}

async function controlled(page) {
  await page.evaluate(async () => {
    if (navigator.serviceWorker.controller) return
    await new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }))
  })
}

async function sha256(page, url) {
  return await page.evaluate(async (target) => {
    const bytes = await (await fetch(target)).arrayBuffer()
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
    return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')
  }, url)
}

const options = { timeout: PATIENCE_MS * 2 }

for (const name of ['index first', 'index last', 'VP9 WebM']) {
  test(`plays and seeks on the first visit: ${name}`, options, async () => {
    const page = await tab()
    await play(page, name)
    await page.evaluate(() => window.__frames.beyond(1))
    const { mediaTime } = await page.evaluate(() => window.__frames.seek(15))
    assert.ok(Math.abs(mediaTime - 15) < 1, `${mediaTime}`)
    await page.evaluate(() => window.__frames.beyond(15.5))
    assert.equal(await page.$('[data-testid=error]'), null)
    await page.close()
  })
}

for (const name of ['index first', 'VP9 WebM', 'one chunk and a byte', '50 MB']) {
  test(`every byte is the original's: ${name}`, options, async () => {
    const page = await tab()
    await page.goto(relay.origin, { waitUntil: 'domcontentloaded' })
    await controlled(page)
    assert.equal(await sha256(page, works[name].stream), await sha256File(works[name].path))
    await page.close()
  })
}

test('ranges are answered as HTTP says', options, async () => {
  const page = await tab()
  await page.goto(relay.origin, { waitUntil: 'domcontentloaded' })
  await controlled(page)
  const ask = (range) =>
    page.evaluate(
      async (url, header) => {
        const response = await fetch(url, { headers: { range: header } })
        return [response.status, response.headers.get('content-range'), (await response.arrayBuffer()).byteLength]
      },
      works['one chunk and a byte'].stream,
      range,
    )
  assert.deepEqual(await ask('bytes=0-1'), [206, 'bytes 0-1/262145', 2])
  assert.deepEqual(await ask('bytes=262144-'), [206, 'bytes 262144-262144/262145', 1])
  assert.deepEqual(await ask('bytes=-2'), [206, 'bytes 262143-262144/262145', 2])
  assert.equal((await ask('bytes=262145-'))[0], 416)
  await page.close()
})

test('the second visit plays from the store', options, async () => {
  const name = 'one chunk and a byte'
  const first = await tab()
  await play(first, name)
  await controlled(first)
  await sha256(first, works[name].stream)
  // Closed, not left: Firefox keeps a left page's media and would not ask for it again.
  await first.close()
  const page = await tab()
  await play(page, name)
  await page.evaluate(() => window.__frames.beyond(1))
  await page.waitForFunction(() => Number(document.querySelector('[data-testid=stats]')?.dataset.fromStore) > 0)
  const servers = await page.$eval('[data-testid=stats]', (element) => Number(element.dataset.fromServers))
  assert.equal(servers, 0)
  await page.close()
})

test('the relay killed and started again during playback is not noticed', options, async () => {
  const page = await tab()
  await play(page, 'index first')
  await page.evaluate(() => window.__frames.beyond(2))
  await relay.kill()
  await page.evaluate(() => window.__frames.beyond(4))
  await relay.start()
  await page.evaluate(() => window.__frames.seek(18))
  assert.equal(await page.$('[data-testid=error]'), null)
  await page.close()
})
