// The service worker's life: killed, updated, absent; and what it never serves.

import { CHUNK_LEN, sha256File } from '../lib/media.mjs'
import { fault } from '../lib/fault-proxy.mjs'
import { becomesControlled, controlled, expect, fetchedSha256, play, reaches, startFilm, stopWorkers, test } from './fixtures.mjs'

test('plays on while the service worker is killed every 4 s', async ({ page, library }) => {
  await play(page, library.relay.origin, library.works['50 MB MP4'].id)
  for (let seconds = 4; seconds <= 24; seconds += 4) {
    await reaches(page, seconds)
    await stopWorkers(page)
  }
  await page.evaluate(() => window.__frames.seek(36))
  await reaches(page, 38)
  await expect(page.getByTestId('error')).toHaveCount(0)
})

test('delivers the original bytes to readers whose worker was killed in between', async ({ page, library }) => {
  const { stream, path } = library.works['MP4 with the index first']
  await controlled(page, library.relay.origin)
  await stopWorkers(page)
  const got = await fetchedSha256(page, stream)
  expect(got.sha256).toBe(await sha256File(path))
})

test('an update of the service worker does not break a playing video', async ({ page, meddler, library }) => {
  await play(page, meddler.origin, library.works['50 MB MP4'].id)
  await becomesControlled(page)
  await reaches(page, 2)
  meddler.rules.push({
    match: (path) => path === '/sw.js',
    act: (answer) => {
      const headers = { ...answer.headers }
      delete headers.etag
      return { ...answer, headers, body: Buffer.concat([answer.body, Buffer.from('\n// one release later\n')]) }
    },
  })
  const updated = await page.evaluate(async () => {
    const registration = await navigator.serviceWorker.getRegistration()
    const found = new Promise((resolve) => registration.addEventListener('updatefound', () => resolve(registration.installing), { once: true }))
    await registration.update()
    const worker = await found
    await new Promise((resolve) => {
      const look = () => (['installed', 'activated', 'redundant'].includes(worker.state) ? resolve() : undefined)
      worker.addEventListener('statechange', look)
      look()
    })
    return worker.state
  })
  expect(['installed', 'activated']).toContain(updated)
  await reaches(page, 8)
  await page.evaluate(() => window.__frames.seek(36))
  await reaches(page, 37)
  await expect(page.getByTestId('error')).toHaveCount(0)
  // And the next visit plays too, whichever worker answers it.
  await page.goto('about:blank')
  await play(page, meddler.origin, library.works['MP4 with the index first'].id)
  await reaches(page, 1)
})

test('a stream opened as a document or in a frame is refused', async ({ context, page, library }) => {
  const { stream } = library.works['one chunk and a byte']
  const { origin } = library.relay
  await controlled(page, origin)
  const document = await context.newPage()
  const answer = await document.goto(`${origin}${stream}`)
  expect(answer.status()).toBeGreaterThanOrEqual(400)
  expect(answer.headers()['content-type']).not.toMatch(/^video\//)
  expect(await document.locator('video').count()).toBe(0)

  // The page's own policy may stop the frame before it asks; if it asks, it is refused.
  const answers = []
  page.on('response', (response) => {
    if (response.url().endsWith(stream)) answers.push(response.status())
  })
  await page.evaluate(
    (url) =>
      new Promise((resolve) => {
        const frame = document.createElement('iframe')
        frame.addEventListener('load', resolve, { once: true })
        frame.src = url
        document.body.append(frame)
      }),
    stream,
  )
  for (const status of answers) expect(status).toBeGreaterThanOrEqual(400)
  for (const frame of page.frames()) expect(await frame.locator('video').count()).toBe(0)
})

test('a stream is no script, style, worker, object or embed', async ({ page, library }) => {
  const { stream } = library.works['one chunk and a byte']
  await controlled(page, library.relay.origin)
  const outcome = await page.evaluate(async (url) => {
    const load = (name, attribute, more = {}) =>
      new Promise((resolve) => {
        const element = Object.assign(document.createElement(name), more)
        element.addEventListener('load', () => resolve('loaded'), { once: true })
        element.addEventListener('error', () => resolve('refused'), { once: true })
        element.setAttribute(attribute, url)
        document.body.append(element)
      })
    return {
      script: await load('script', 'src'),
      module: await load('script', 'src', { type: 'module' }),
      style: await load('link', 'href', { rel: 'stylesheet' }),
      worker: await new Promise((resolve) => {
        try {
          const worker = new Worker(url)
          worker.onerror = () => resolve('refused')
          worker.onmessage = () => resolve('loaded')
        } catch {
          resolve('refused')
        }
      }),
    }
  }, stream)
  expect(outcome).toEqual({ script: 'refused', module: 'refused', style: 'refused', worker: 'refused' })
})

test('without a service worker the relay says that one is needed', async ({ request, library }) => {
  const answer = await request.get(`${library.relay.origin}${library.works['one chunk exactly'].stream}`)
  expect(answer.status()).toBe(404)
  expect(answer.headers()['content-type']).toContain('application/problem+json')
  expect((await answer.json()).detail).toMatch(/service worker/i)
})

test('a browser without service workers gets one panel that says where to open the link', async ({ chrome, library }) => {
  const context = await chrome.newContext()
  await context.addInitScript(() => {
    delete Object.getPrototypeOf(navigator).serviceWorker
  })
  const page = await context.newPage()
  await page.goto(`${library.relay.origin}/w/${library.works['MP4 with the index first'].id}`)
  await expect(page.getByTestId('error')).toHaveCount(1)
  await expect(page.getByTestId('error')).toContainText(/browser/i)
  await context.close()
})

test('a slow service worker script does not lose the film', async ({ page, meddler, library }) => {
  let release
  const held = new Promise((resolve) => {
    release = resolve
  })
  meddler.rules.push(fault.hold(/^\/sw\.js/, held))
  await page.goto(`${meddler.origin}/w/${library.works['MP4 with the index first'].id}`)
  await page.locator('main, body').first().waitFor()
  release()
  await startFilm(page)
  await reaches(page, 1)
})

test('chunks at a boundary arrive whole when the worker is killed mid-stream', async ({ page, library }) => {
  const { stream, path } = library.works['one chunk and a byte']
  await controlled(page, library.relay.origin)
  // One reader that stops in the middle, a kill, and a reader that goes on where it stopped.
  const first = await page.evaluate(async (url) => {
    const response = await fetch(url, { headers: { range: 'bytes=0-262143' } })
    return (await response.arrayBuffer()).byteLength
  }, stream)
  expect(first).toBe(CHUNK_LEN)
  await stopWorkers(page)
  expect((await fetchedSha256(page, stream)).sha256).toBe(await sha256File(path))
})
