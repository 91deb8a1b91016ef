// What every specification starts from: a relay with a small library, a browser, an empty profile in it, a proxy that
// can do harm. Relay and browser live as long as the worker; profile and proxy as long as the test.

import { test as base, expect, chromium } from '@playwright/test'
import { FLAGS } from '../lib/chromium.mjs'
import { watchFrames } from '../lib/frames.mjs'
import { FaultProxy } from '../lib/fault-proxy.mjs'
import { CHUNK_LEN, media, noise, paddedMp4, paddedWebm } from '../lib/media.mjs'
import { CHROMIUM } from '../lib/paths.mjs'
import { Relay } from '../lib/relay.mjs'
import { isShellKept } from '../lib/store.mjs'

export { expect }

/** The works of the shared relay: name → {source, film}. `film` means that there is a picture to see. */
export const WORKS = {
  'MP4 with the index first': { source: () => media('index-first.mp4'), film: true },
  'MP4 with the index last': { source: () => media('index-last.mp4'), film: true },
  'VP9 WebM': { source: () => media('vp9.webm'), film: true },
  '3 bytes': { source: () => noise(3), film: false },
  'one chunk less a byte': { source: () => paddedMp4(CHUNK_LEN - 1), film: true },
  'one chunk exactly': { source: () => paddedMp4(CHUNK_LEN), film: true },
  'one chunk and a byte': { source: () => paddedMp4(CHUNK_LEN + 1), film: true },
  '50 MB MP4': { source: () => paddedMp4(50_000_000, 'long.mp4'), film: true },
  '3 bytes of WebM': { source: () => noise(3, 'webm'), film: false },
  '50 MB WebM': { source: () => paddedWebm(50_000_000), film: true },
}

export const test = base.extend({
  library: [
    async ({}, use) => {
      const relay = await Relay.create()
      const poster = await media('poster.jpg')
      const works = {}
      for (const [name, { source, film }] of Object.entries(WORKS)) {
        const path = await source()
        const id = await relay.publish(path, { title: name, poster, tags: 'test', language: 'en', description: `About ${name}.` })
        works[name] = { id, path, film, stream: `/stream/${id}/${(await relay.work(id)).files[0].path}` }
      }
      await use({ relay, works })
      await relay.remove()
    },
    { scope: 'worker', timeout: 180_000 },
  ],

  chrome: [
    async ({}, use) => {
      const chrome = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS })
      await use(chrome)
      await chrome.close()
    },
    { scope: 'worker' },
  ],

  context: async ({ chrome }, use) => {
    const context = await chrome.newContext({ viewport: { width: 1280, height: 800 } })
    await context.addInitScript(watchFrames)
    await use(context)
    await context.close()
  },

  page: async ({ context }, use) => {
    await use(await context.newPage())
  },

  /** A proxy before the shared relay. */
  meddler: async ({ library }, use) => {
    const meddler = await FaultProxy.create(library.relay.origin)
    await use(meddler)
    await meddler.close()
  },

  /** A relay of the test's own, for what must not happen to the shared one. */
  ownRelay: async ({}, use) => {
    const relay = await Relay.create()
    await use(relay)
    await relay.remove()
  },
})

/** Opens the watch page and resolves once a real frame is on screen; the film then runs, muted. */
export async function play(page, origin, id) {
  await page.goto(`${origin}/w/${id}`)
  return await startFilm(page)
}

/** Starts the film of the page that is open. */
export async function startFilm(page) {
  await page.locator('video').waitFor({ state: 'attached' })
  await page.evaluate(() => {
    const video = document.querySelector('video')
    video.muted = true
    // A source that comes a moment later ends this promise; the element still starts.
    video.play().catch(() => {})
  })
  return await page.evaluate(() => window.__frames.first())
}

/** Resolves once the film has shown a frame from `seconds` or later. */
export async function reaches(page, seconds) {
  return await page.evaluate((at) => window.__frames.beyond(at), seconds)
}

/** Seeks; resolves once a frame from there is on screen. */
export async function seek(page, seconds) {
  return await page.evaluate((at) => window.__frames.seek(at), seconds)
}

/** Opens `path` and resolves once a service worker controls the page. */
export async function controlled(page, origin, path = '/') {
  await page.goto(`${origin}${path}`)
  await becomesControlled(page)
}

/** Resolves once a service worker controls the page that is open. */
export async function becomesControlled(page) {
  await page.evaluate(async () => {
    if (navigator.serviceWorker.controller) return
    await new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }))
  })
}

/** Resolves once the service worker keeps the app's shell: from then on the pages open without the relay. */
export async function shellKept(page) {
  await expect.poll(() => page.evaluate(isShellKept)).toBe(true)
}

/** SHA-256 and length of what a fetch from inside the page delivers. */
export async function fetchedSha256(page, url) {
  return await page.evaluate(async (target) => {
    const response = await fetch(target)
    const bytes = await response.arrayBuffer()
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
    return {
      status: response.status,
      len: bytes.byteLength,
      sha256: Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join(''),
    }
  }, url)
}

/** The numbers on the watch page's stats card. */
export async function stats(page) {
  const card = page.getByTestId('stats')
  await card.waitFor({ state: 'attached' })
  return await card.evaluate((element) => ({
    fromStore: Number(element.dataset.fromStore),
    fromPeers: Number(element.dataset.fromPeers),
    fromServers: Number(element.dataset.fromServers),
    peers: Number(element.dataset.peers),
    transport: element.dataset.transport,
  }))
}

/** Stops every service worker, as the browser does when it wants the memory. */
export async function stopWorkers(page) {
  const session = await page.context().newCDPSession(page)
  await session.send('ServiceWorker.enable')
  await session.send('ServiceWorker.stopAllWorkers')
  await session.detach()
}

/** A reload that goes past every cache and the service worker, as with Shift held. */
export async function hardReload(page) {
  const session = await page.context().newCDPSession(page)
  const loaded = page.waitForEvent('load')
  await session.send('Page.reload', { ignoreCache: true })
  await loaded
  await session.detach()
}
