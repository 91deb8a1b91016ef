// Bytes that lie: a flipped bit in any kind of block, and manifests that no honest publisher makes. Nothing wrong is
// played or stored; where another source has the right bytes, the film plays.

import { open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cidOf, isBlock, makeWork, readWork } from '../lib/dag.mjs'
import { FaultProxy, fault } from '../lib/fault-proxy.mjs'
import { media, sha256File } from '../lib/media.mjs'
import { storedBytes } from '../lib/store.mjs'
import { controlled, expect, fetchedSha256, play, reaches, seek, startFilm, stats, test } from './fixtures.mjs'

const NAME = 'MP4 with the index first'

/** The blocks of the work under attack, by kind. */
async function blocksOf(library) {
  const { relay, works } = library
  const { id } = works[NAME]
  const { files } = await readWork(id, (cid) => relay.block(cid))
  const { chunks, pages } = files[0]
  return {
    manifest: id,
    'hash page': pages[0],
    'first chunk': chunks[0],
    'middle chunk': chunks[chunks.length >> 1],
    'last chunk': chunks.at(-1),
    all: [id, ...pages, ...chunks],
    chunks,
  }
}

/** Every stored chunk is the right one for its place, every stored block is one of the work's. */
async function nothingFalseIsStored(page, library) {
  const { all, chunks } = await blocksOf(library)
  const { card, poster } = await library.relay.work(library.works[NAME].id)
  const known = new Set([...all, card, poster])
  for (const { base64, store, key } of await storedBytes(page)) {
    const bytes = Buffer.from(base64, 'base64')
    if (store === 'chunks') {
      // content (32 bytes), file (4), index (8)
      const index = parseInt(key.slice(-16), 16)
      expect(String(cidOf(bytes)), `stored chunk ${index}`).toBe(chunks[index])
    } else if (store === 'blocks') {
      const names = [String(cidOf(bytes, 0x55)), String(cidOf(bytes, 0x71))]
      expect(names.some((name) => known.has(name)), `stored block ${key}: ${bytes.length} bytes are no block of the work`).toBe(true)
    }
  }
}

for (const kind of ['manifest', 'hash page', 'first chunk', 'middle chunk', 'last chunk']) {
  test(`a flipped bit in the gateway's ${kind}, and no other source: refused with a plain error`, async ({ page, meddler, library }) => {
    const cid = (await blocksOf(library))[kind]
    meddler.addrs = () => []
    meddler.rules.push(fault.flip(cid))
    const { id, stream, path } = library.works[NAME]
    await controlled(page, meddler.origin)
    const original = await readFile(path)
    // Whatever arrives before the refusal is the original's beginning, and the end is never reached.
    const got = await page.evaluate(async (url) => {
      const response = await fetch(url)
      const reader = response.ok ? response.body.getReader() : null
      let binary = ''
      let failed = !response.ok
      while (reader && !failed) {
        const { done, value } = await reader.read().catch(() => ({ done: true, failed: (failed = true) }))
        if (done) break
        for (let at = 0; at < value.length; at += 32_768) binary += String.fromCharCode(...value.subarray(at, at + 32_768))
      }
      return { failed, status: response.status, base64: btoa(binary) }
    }, stream)
    const bytes = Buffer.from(got.base64, 'base64')
    expect(got.failed, `${bytes.length} of ${original.length} bytes, status ${got.status}`).toBe(true)
    expect(bytes.equals(original.subarray(0, bytes.length))).toBe(true)
    await page.goto(`${meddler.origin}/w/${id}`)
    if (kind === 'middle chunk' || kind === 'last chunk') {
      await startFilm(page)
      await page.evaluate((at) => {
        document.querySelector('video').currentTime = at
      }, kind === 'last chunk' ? 19.9 : 10.5)
    }
    const panel = page.getByTestId('error')
    await expect(panel).toBeVisible({ timeout: 40_000 })
    await expect(panel.getByRole('button').first()).toBeVisible()
    await nothingFalseIsStored(page, library)
    // The fault goes away; the retry on the panel plays.
    meddler.rules.length = 0
    await panel.getByRole('button', { name: /again|retry/i }).click()
    await startFilm(page)
    await reaches(page, 0.5)
  })

  test(`a flipped bit in the gateway's ${kind}, with the relay's node at hand: the node is asked and the film plays`, async ({
    page,
    meddler,
    library,
  }) => {
    const cid = (await blocksOf(library))[kind]
    meddler.rules.push(fault.flip(cid))
    const { id, stream, path } = library.works[NAME]
    await play(page, meddler.origin, id)
    // Into the spoiled place, whether the node is there already or not.
    await seek(page, 10.5)
    await seek(page, 19)
    await expect(page.getByTestId('error')).toHaveCount(0)
    await expect.poll(async () => (await stats(page)).transport).not.toBe('http')
    const got = await fetchedSha256(page, stream)
    expect(got.sha256).toBe(await sha256File(path))
    await nothingFalseIsStored(page, library)
  })
}

test('a flipped bit on the relay\'s disk: the node\'s chunk is refused and the gateway asked', async ({ page, ownRelay }) => {
  const path = await media('index-first.mp4')
  const id = await ownRelay.publish(path, { title: 'Rotten' })
  const { files } = await readWork(id, (cid) => ownRelay.block(cid))
  const meddler = await FaultProxy.create(ownRelay.origin)
  // The gateway still has every block as it was; the disk, and with it the node, does not.
  for (const cid of files[0].chunks) {
    const body = await ownRelay.block(cid)
    const answer = { status: 200, headers: { 'content-type': 'application/vnd.ipld.raw' }, body }
    meddler.rules.push(fault.replace((asked) => asked.startsWith(`/ipfs/${cid}`), answer))
  }
  for (const cid of files[0].chunks.slice(1)) {
    const file = await open(ownRelay.blockPath(cid), 'r+')
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, 1000)
    await file.write(Buffer.of(buffer[0] ^ 1), 0, 1, 1000)
    await file.close()
  }
  await play(page, meddler.origin, id)
  await expect.poll(async () => (await stats(page)).transport).not.toBe('http')
  await seek(page, 12)
  const stream = `/stream/${id}/${files[0].entry.path}`
  expect((await fetchedSha256(page, stream)).sha256).toBe(await sha256File(path))
  for (const { base64, store, key } of await storedBytes(page, 200_000)) {
    if (store !== 'chunks') continue
    const index = parseInt(key.slice(-16), 16)
    expect(String(cidOf(Buffer.from(base64, 'base64'))), `stored chunk ${index}`).toBe(files[0].chunks[index])
  }
  await meddler.close()
})

test('a flipped bit in the card: its text is not shown as the creator\'s', async ({ page, meddler, library }) => {
  const { id } = library.works[NAME]
  const { card } = await library.relay.work(id)
  meddler.addrs = () => []
  meddler.rules.push(fault.flip(card))
  await page.goto(`${meddler.origin}/w/${id}`)
  await startFilm(page)
  await reaches(page, 0.5)
  const bad = await library.relay.block(card)
  bad[bad.length >> 1] ^= 1
  for (const { base64 } of await storedBytes(page, 16)) {
    expect(Buffer.from(base64, 'base64').equals(bad)).toBe(false)
  }
})

const UNSIGNED = ['another creator\'s name on it', 'a changed signature', 'no signature']

/** Works made by hand, each with a reason to be refused. */
async function hostileWorks() {
  const film = await readFile(await media('tiny.mp4'))
  const html = Buffer.from('<!doctype html><script>parent.postMessage("owned", "*"); window.owned = true</script>')
  const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script>window.owned = true</script></svg>')
  const honest = { path: 'film.mp4', type: 'video/mp4', bytes: film }
  return {
    'a file called text/html': makeWork([{ path: 'evil.html', type: 'text/html', bytes: html }]),
    'a film beside a file called text/html': makeWork([honest, { path: 'evil.html', type: 'text/html', bytes: html }]),
    'a file called image/svg+xml': makeWork([{ path: 'evil.svg', type: 'image/svg+xml', bytes: svg }]),
    'a file called application/javascript': makeWork([{ path: 'evil.js', type: 'application/javascript', bytes: html }]),
    'a file that names ../x': makeWork([{ ...honest, path: '../x' }]),
    'a file that names a/../../x.mp4': makeWork([{ ...honest, path: 'a/../../x.mp4' }]),
    'a file that names /etc/passwd': makeWork([{ ...honest, path: '/etc/passwd' }]),
    'a file with a space and a quote in its name': makeWork([{ ...honest, path: 'a "b.mp4' }]),
    'two files of one name': makeWork([honest, honest]),
    'no file': makeWork([]),
    'a length that is not its pages\'': makeWork([honest], {
      spoil: (manifest) => ({ ...manifest, files: [{ ...manifest.files[0], len: 600_000_000 }] }),
    }),
    'a key that is not the one committed to': makeWork([honest], { spoil: (manifest) => ({ ...manifest, keys: [new Uint8Array(32)] }) }),
    'a field nobody knows': makeWork([honest], { spoil: (manifest) => ({ ...manifest, onload: 'alert(1)' }) }),
    'a version nobody knows': makeWork([honest], { spoil: (manifest) => ({ ...manifest, v: 2 }) }),
    // These three name honest files. Their bytes are what the link names, so the worker may serve them; the page, which
    // would show a creator who never signed, refuses.
    'another creator\'s name on it': makeWork([honest], {
      spoilSigned: (manifest) => ({ ...manifest, creator: 'did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK' }),
    }),
    'a changed signature': makeWork([honest], {
      spoilSigned: (manifest) => ({ ...manifest, sig: manifest.sig.map((byte, at) => (at === 10 ? byte ^ 1 : byte)) }),
    }),
    'no signature': makeWork([honest], {
      spoilSigned: ({ sig: _sig, ...manifest }) => manifest,
    }),
  }
}

function serve(meddler, { id, blocks, work }) {
  meddler.addrs = () => []
  const ok = (type, body) => ({ status: 200, headers: { 'content-type': type }, body })
  meddler.rules.push(fault.replace((path) => path.startsWith(`/api/v1/works/${id}`), ok('application/json', Buffer.from(JSON.stringify(work)))))
  for (const [cid, bytes] of blocks) {
    meddler.rules.push(fault.replace((path) => path.startsWith(`/ipfs/${cid}`), ok('application/vnd.ipld.raw', bytes)))
  }
}

test('a work made by hand without Sluice\'s code plays: the refusals below are for their reasons', async ({ page, meddler }) => {
  const made = makeWork([{ path: 'film.mp4', type: 'video/mp4', bytes: await readFile(await media('tiny.mp4')) }])
  for (const [cid, bytes] of made.blocks) expect(isBlock(cid, bytes)).toBe(true)
  serve(meddler, made)
  await play(page, meddler.origin, made.id)
  await reaches(page, 1)
})

test('manifests no honest publisher makes are refused', async ({ page, meddler }) => {
  test.setTimeout(300_000)
  await controlled(page, meddler.origin)
  for (const [what, made] of Object.entries(await hostileWorks())) {
    await test.step(what, async () => {
      meddler.rules.length = 0
      serve(meddler, made)
      await page.goto(`${meddler.origin}/w/${made.id}`)
      await expect(page.getByTestId('error'), what).toBeVisible()
      expect(await page.evaluate(() => document.querySelector('video')?.currentSrc ?? ''), what).toBe('')
      if (UNSIGNED.includes(what)) return
      const paths = [...made.manifest.files.map(({ path }) => path), 'x', 'x.mp4', 'evil.html', '..%2fx', '%2e%2e%2fx']
      for (const path of paths) {
        const got = await page.evaluate(async (url) => {
          const response = await fetch(url)
          return { status: response.status, type: response.headers.get('content-type') ?? '' }
        }, `/stream/${made.id}/${path}`)
        expect(got.status, `${what}: ${path}`).toBeGreaterThanOrEqual(400)
        expect(got.type, `${what}: ${path}`).not.toMatch(/html|svg|javascript|^video/)
      }
      expect(await page.evaluate(() => window.owned), what).toBeUndefined()
    })
  }
})

test('a poster that is HTML behind a picture\'s first bytes runs nothing, even opened as a document', async ({ context, page, ownRelay }) => {
  const poster = join(ownRelay.data, 'polyglot.jpg')
  const html = Buffer.from('<!doctype html><script>window.owned = true</script>')
  await writeFile(poster, Buffer.concat([Buffer.from('ffd8ffe000104a46494600010100000100010000', 'hex'), html]))
  const id = await ownRelay.publish(await media('tiny.mp4'), { title: 'Polyglot', poster })
  const cid = (await ownRelay.work(id)).poster
  await controlled(page, ownRelay.origin)
  for (const path of [`/ipfs/${cid}`, `/ipfs/${cid}?work=${id}`]) {
    const document = await context.newPage()
    const answer = document.waitForEvent('response', (response) => response.url().endsWith(path))
    await document.goto(`${ownRelay.origin}${path}`).catch(() => {
      // A download instead of a page is as good a refusal.
    })
    const headers = (await answer).headers()
    expect(headers['x-content-type-options']).toBe('nosniff')
    expect(headers['content-security-policy']).toMatch(/sandbox/)
    expect(headers['content-type']).not.toMatch(/html/)
    expect(await document.evaluate(() => window.owned)).toBeUndefined()
    await document.close()
  }
})

test('a chunk whose hash is right and whose key is wrong ends with a plain error', async ({ page, meddler }) => {
  const bytes = await readFile(await media('tiny.mp4'))
  const made = makeWork([{ path: 'film.mp4', type: 'video/mp4', bytes }])
  const other = makeWork([{ path: 'film.mp4', type: 'video/mp4', bytes }], {
    // Pages of the first work under the second one's key.
    spoil: (manifest) => ({ ...manifest, files: made.manifest.files }),
  })
  for (const [cid, block] of made.blocks) other.blocks.set(cid, block)
  serve(meddler, other)
  await page.goto(`${meddler.origin}/w/${other.id}`)
  await expect(page.getByTestId('error')).toBeVisible({ timeout: 40_000 })
})
