// Networks as they are: a relay that dies, a transport that is refused, a gateway that is slow or gone.

import { createSocket } from 'node:dgram'
import { fault, FaultProxy, gate } from '../lib/fault-proxy.mjs'
import { media, sha256File } from '../lib/media.mjs'
import { controlled, expect, fetchedSha256, play, reaches, startFilm, stats, test } from './fixtures.mjs'

const NAME = 'MP4 with the index first'

/** A UDP port that swallows everything, as a firewall does. */
async function blackHole() {
  const socket = createSocket('udp4')
  await new Promise((resolve) => socket.bind(0, '127.0.0.1', resolve))
  return { port: socket.address().port, close: () => new Promise((resolve) => socket.close(resolve)) }
}

/** A TCP port on which nobody listens. */
const CLOSED_PORT = 9

test('a relay killed and started again during playback is not noticed', async ({ page, ownRelay }) => {
  const id = await ownRelay.publish(await media('long.mp4'), { title: 'Long' })
  await play(page, ownRelay.origin, id)
  await reaches(page, 3)
  await ownRelay.kill()
  await reaches(page, 6)
  await ownRelay.start()
  await page.evaluate(() => {
    document.querySelector('video').playbackRate = 4
  })
  await reaches(page, 38)
  await expect(page.getByTestId('error')).toHaveCount(0)
})

test('a relay that is away when the film needs it is waited for, or retried by a button', async ({ page, ownRelay }) => {
  const id = await ownRelay.publish(await media('long.mp4'), { title: 'Long' })
  await play(page, ownRelay.origin, id)
  await reaches(page, 1)
  await ownRelay.kill()
  await page.evaluate(() => {
    document.querySelector('video').currentTime = 35
  })
  await ownRelay.start()
  const shown = reaches(page, 35).then(() => 'played')
  const refused = page
    .getByTestId('error')
    .waitFor()
    .then(() => 'refused')
  if ((await Promise.race([shown, refused])) === 'refused') {
    await page.getByTestId('error').getByRole('button', { name: /again|retry/i }).click()
    await startFilm(page)
    await page.evaluate(() => window.__frames.seek(35))
  }
  await reaches(page, 36)
})

test('WebTransport swallowed by the network: WebSocket takes over', async ({ page, meddler, library }) => {
  const hole = await blackHole()
  meddler.addrs = (all) => all.map((addr) => addr.replace(/\/udp\/\d+/, `/udp/${hole.port}`))
  await play(page, meddler.origin, library.works[NAME].id)
  await reaches(page, 1)
  await expect.poll(async () => (await stats(page)).transport, { timeout: 40_000 }).toBe('websocket')
  const { stream, path } = library.works['50 MB MP4']
  expect((await fetchedSha256(page, stream)).sha256).toBe(await sha256File(path))
  await hole.close()
})

test('WebTransport refused by the network: WebSocket takes over', async ({ page, meddler, library }) => {
  meddler.addrs = (all) => all.map((addr) => addr.replace(/\/udp\/\d+/, `/udp/${CLOSED_PORT}`))
  await play(page, meddler.origin, library.works[NAME].id)
  await expect.poll(async () => (await stats(page)).transport, { timeout: 40_000 }).toBe('websocket')
})

test('WebTransport and WebSocket refused: the gateway serves', async ({ page, meddler, library }) => {
  meddler.addrs = (all) => all.map((addr) => addr.replace(/\/(udp|tcp)\/\d+/, `/$1/${CLOSED_PORT}`))
  const { id, stream, path } = library.works[NAME]
  await play(page, meddler.origin, id)
  await reaches(page, 1)
  expect((await fetchedSha256(page, stream)).sha256).toBe(await sha256File(path))
  await expect.poll(async () => (await stats(page)).transport, { timeout: 40_000 }).toMatch(/gateway|http/i)
  expect((await stats(page)).fromServers).toBeGreaterThan(0)
})

test('a gateway without blocks: the node serves', async ({ page, meddler, library }) => {
  meddler.rules.push(fault.missing(/^\/ipfs\//))
  const { id, stream, path } = library.works[NAME]
  await play(page, meddler.origin, id)
  await reaches(page, 1)
  expect((await fetchedSha256(page, stream)).sha256).toBe(await sha256File(path))
})

test('a gateway that drops connections: the node serves', async ({ page, meddler, library }) => {
  meddler.rules.push(fault.drop(/^\/ipfs\//))
  await play(page, meddler.origin, library.works[NAME].id)
  await reaches(page, 1)
})

test('a gateway that never answers: the node serves', async ({ page, meddler, library }) => {
  const never = gate()
  meddler.rules.push(fault.hold(/^\/ipfs\//, never.opened))
  await play(page, meddler.origin, library.works[NAME].id)
  await reaches(page, 1)
  never.open()
})

test('no source has the film: an error that says what was tried, and a retry that plays once one has', async ({ page, meddler, library }) => {
  meddler.addrs = () => []
  meddler.rules.push(fault.missing(/^\/ipfs\//))
  await page.goto(`${meddler.origin}/w/${library.works[NAME].id}`)
  const panel = page.getByTestId('error')
  await expect(panel).toBeVisible({ timeout: 40_000 })
  meddler.rules.length = 0
  await panel.getByRole('button', { name: /again|retry/i }).click()
  await startFilm(page)
  await reaches(page, 1)
})

test('the node is not waited for: the first frame comes while its script is held back', async ({ page, meddler, library }) => {
  const later = gate()
  meddler.rules.push(fault.hold(/^\/node-/, later.opened))
  await play(page, meddler.origin, library.works[NAME].id)
  later.open()
  await expect.poll(async () => (await stats(page)).transport, { timeout: 40_000 }).toBe('webtransport')
})

test('every block is asked of the gateway at most twice in one play', async ({ page, library }) => {
  const meddler = await FaultProxy.create(library.relay.origin)
  meddler.addrs = () => []
  const { stream, path } = library.works[NAME]
  await controlled(page, meddler.origin)
  expect((await fetchedSha256(page, stream)).sha256).toBe(await sha256File(path))
  const asked = new Map()
  for (const { path: url, method } of meddler.seen) {
    if (method === 'GET' && url.startsWith('/ipfs/')) asked.set(url, (asked.get(url) ?? 0) + 1)
  }
  for (const [url, times] of asked) expect(times, url).toBeLessThanOrEqual(2)
  await meddler.close()
})
