// What stays in the browser: played without a relay, full, cleared.

import { sha256File, media } from '../lib/media.mjs'
import { storedBytes } from '../lib/store.mjs'
import { controlled, expect, fetchedSha256, play, reaches, seek, shellKept, stats, test } from './fixtures.mjs'

test('a fully stored work plays with the relay stopped', async ({ page, context, ownRelay }) => {
  const path = await media('index-first.mp4')
  const id = await ownRelay.publish(path, { title: 'Kept', poster: await media('poster.jpg') })
  const stream = `/stream/${id}/${(await ownRelay.work(id)).files[0].path}`
  await play(page, ownRelay.origin, id)
  await fetchedSha256(page, stream)
  await shellKept(page)
  await page.close()
  await ownRelay.stop()

  const offline = await context.newPage()
  await play(offline, ownRelay.origin, id)
  await reaches(offline, 1)
  await seek(offline, 17)
  expect((await fetchedSha256(offline, stream)).sha256).toBe(await sha256File(path))
  await expect.poll(async () => (await stats(offline)).fromStore).toBeGreaterThan(0)
  expect((await stats(offline)).fromServers).toBe(0)
  await expect(offline.getByTestId('error')).toHaveCount(0)
  await expect(offline).toHaveTitle(/Kept/)
})

test('the shell opens with the relay stopped', async ({ page, ownRelay }) => {
  await controlled(page, ownRelay.origin)
  await shellKept(page)
  await ownRelay.stop()
  for (const path of ['/node', '/settings', '/']) {
    await page.goto(`${ownRelay.origin}${path}`)
    await expect(page.locator('header, nav').first()).toBeVisible()
  }
})

test('a full disk: the film plays on, and every byte is right', async ({ page, library }) => {
  const { origin } = library.relay
  await controlled(page, origin)
  await page.evaluate(() => navigator.serviceWorker.ready)
  const session = await page.context().newCDPSession(page)
  const { usage } = await session.send('Storage.getUsageAndQuota', { origin })
  await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: Math.ceil(usage + 1_500_000) })
  const { id, stream, path } = library.works['50 MB MP4']
  await play(page, origin, id)
  await reaches(page, 2)
  await seek(page, 30)
  await reaches(page, 32)
  expect((await fetchedSha256(page, stream)).sha256).toBe(await sha256File(path))
  await expect(page.getByTestId('error')).toHaveCount(0)
  await session.detach()
})

test('no quota at all: the film plays on', async ({ page, library }) => {
  const { origin } = library.relay
  await controlled(page, origin)
  const session = await page.context().newCDPSession(page)
  await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1 })
  await play(page, origin, library.works['MP4 with the index last'].id)
  await reaches(page, 2)
  await seek(page, 15)
  await session.detach()
})

test('the node page clears what is stored', async ({ page, library }) => {
  const { id, stream } = library.works['MP4 with the index first']
  await play(page, library.relay.origin, id)
  await fetchedSha256(page, stream)
  await expect.poll(async () => (await storedBytes(page, 200_000)).length).toBeGreaterThan(10)
  await page.goto(`${library.relay.origin}/node`)
  await expect(page.getByTestId('node-state')).toBeVisible()
  page.on('dialog', (dialog) => dialog.accept())
  await page.getByRole('button', { name: /clear|remove|delete/i }).first().click()
  const sure = page.getByRole('button', { name: /^(yes|clear|remove|delete|really)/i })
  await expect
    .poll(async () => {
      if ((await storedBytes(page, 200_000)).length === 0) return 0
      if (await sure.count()) await sure.first().click()
      return (await storedBytes(page, 200_000)).length
    })
    .toBe(0)
  await play(page, library.relay.origin, id)
  await reaches(page, 1)
})

test('content keys and plaintext are not what is stored', async ({ page, library }) => {
  const { id, stream, path } = library.works['MP4 with the index first']
  await play(page, library.relay.origin, id)
  await fetchedSha256(page, stream)
  const { readFile } = await import('node:fs/promises')
  const plain = (await readFile(path)).subarray(300_000, 300_064)
  for (const { base64, database, store, key } of await storedBytes(page, 64)) {
    expect(Buffer.from(base64, 'base64').includes(plain), `${database}/${store}/${key}`).toBe(false)
  }
})
