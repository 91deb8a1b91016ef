// HTTP semantics of /stream/…, as the service worker answers them: one table, one request each.

import { readFile } from 'node:fs/promises'
import { controlled, expect, test } from './fixtures.mjs'

const LEN = 262_145
/** ETag of the file, filled in by the test. */
const TAG = Symbol('etag')

const whole = { status: 200, first: 0, last: LEN - 1 }
const part = (first, last) => ({ status: 206, first, last })
/** An open range may be answered with less than everything, never with nothing. */
const open = (first) => ({ status: 206, first, last: LEN - 1, mayBeShorter: true })
const beyond = { status: 416 }
const unchanged = { status: 304 }

/** [headers, wanted, method] */
const TABLE = [
  // 200
  [{}, whole],
  [{ range: '' }, whole],
  // 206, closed
  [{ range: 'bytes=0-0' }, part(0, 0)],
  [{ range: 'bytes=0-1' }, part(0, 1)],
  [{ range: 'bytes=1-1' }, part(1, 1)],
  [{ range: 'bytes=10-19' }, part(10, 19)],
  [{ range: 'bytes=0-262143' }, part(0, 262_143)],
  [{ range: 'bytes=0-262144' }, part(0, 262_144)],
  [{ range: 'bytes=262143-262143' }, part(262_143, 262_143)],
  [{ range: 'bytes=262144-262144' }, part(262_144, 262_144)],
  [{ range: 'bytes=262143-262144' }, part(262_143, 262_144)],
  [{ range: 'bytes=131072-262144' }, part(131_072, 262_144)],
  // 206, past the end: cut
  [{ range: 'bytes=0-262145' }, part(0, LEN - 1)],
  [{ range: 'bytes=262144-999999' }, part(262_144, LEN - 1)],
  [{ range: 'bytes=100-18446744073709551615' }, part(100, LEN - 1)],
  [{ range: 'bytes=100-99999999999999999999999' }, part(100, LEN - 1)],
  // 206, open
  [{ range: 'bytes=0-' }, open(0)],
  [{ range: 'bytes=1-' }, open(1)],
  [{ range: 'bytes=262143-' }, open(262_143)],
  [{ range: 'bytes=262144-' }, open(262_144)],
  // 206, suffix
  [{ range: 'bytes=-1' }, part(LEN - 1, LEN - 1)],
  [{ range: 'bytes=-2' }, part(LEN - 2, LEN - 1)],
  [{ range: 'bytes=-1000' }, part(LEN - 1000, LEN - 1)],
  [{ range: `bytes=-${LEN}` }, part(0, LEN - 1)],
  [{ range: 'bytes=-999999999' }, part(0, LEN - 1)],
  // 206, forgiven spelling
  [{ range: 'Bytes=0-1' }, part(0, 1)],
  [{ range: 'bytes= 0-1' }, part(0, 1)],
  // 416
  [{ range: `bytes=${LEN}-` }, beyond],
  [{ range: `bytes=${LEN}-${LEN}` }, beyond],
  [{ range: 'bytes=999999999-' }, beyond],
  [{ range: 'bytes=99999999999999999999999-' }, beyond],
  [{ range: 'bytes=-0' }, beyond],
  // Several ranges, malformed ranges and other units are ignored
  [{ range: 'bytes=0-1,5-6' }, whole],
  [{ range: 'bytes=-1,0-0' }, whole],
  [{ range: 'bytes=5-4' }, whole],
  [{ range: 'bytes=a-b' }, whole],
  [{ range: 'bytes=-' }, whole],
  [{ range: 'bytes=+1-2' }, whole],
  [{ range: 'bytes=0x0-0x1' }, whole],
  [{ range: 'bytes=1-2-3' }, whole],
  [{ range: 'bytes 0-1' }, whole],
  [{ range: 'items=0-1' }, whole],
  [{ range: 'nonsense' }, whole],
  // If-Range
  [{ range: 'bytes=0-1', 'if-range': TAG }, part(0, 1)],
  [{ range: 'bytes=0-1', 'if-range': '"other"' }, whole],
  [{ range: 'bytes=0-1', 'if-range': 'Wed, 21 Oct 2015 07:28:00 GMT' }, whole],
  [{ range: `bytes=${LEN}-`, 'if-range': '"other"' }, whole],
  // If-None-Match
  [{ 'if-none-match': TAG }, unchanged],
  [{ 'if-none-match': '*' }, unchanged],
  [{ 'if-none-match': '"other"' }, whole],
  [{ 'if-none-match': '"other"', range: 'bytes=0-0' }, part(0, 0)],
  [{ 'if-none-match': TAG, range: 'bytes=0-0' }, unchanged],
  // HEAD: the same headers and no body; a Range means nothing to it (RFC 9110, 14.2)
  [{}, whole, 'HEAD'],
  [{ range: 'bytes=0-1' }, whole, 'HEAD'],
  [{ 'if-none-match': TAG }, unchanged, 'HEAD'],
]

test(`answers ${TABLE.length} requests as HTTP says`, async ({ page, library }) => {
  const { path, stream } = library.works['one chunk and a byte']
  const original = await readFile(path)
  await controlled(page, library.relay.origin)
  const etag = await page.evaluate(async (url) => (await fetch(url, { method: 'HEAD' })).headers.get('etag'), stream)
  expect(etag).toMatch(/^"[^"]+"$/)
  for (const [given, want, method = 'GET'] of TABLE) {
    const headers = Object.fromEntries(Object.entries(given).map(([name, value]) => [name, value === TAG ? etag : value]))
    const what = `${method} ${JSON.stringify(headers)}`
    await test.step(what, async () => {
      const got = await ask(page, stream, method, headers)
      expect(got.status, what).toBe(want.status)
      expect(got.headers.etag, what).toBe(etag)
      if (want.status === 304) {
        expect(got.body.length, what).toBe(0)
        return
      }
      expect(got.headers['accept-ranges'], what).toBe('bytes')
      if (want.status === 416) {
        expect(got.headers['content-range'], what).toBe(`bytes */${LEN}`)
        return
      }
      let { last } = want
      if (want.status === 206) {
        const said = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(got.headers['content-range'])
        expect(said, `${what}: ${got.headers['content-range']}`).not.toBeNull()
        expect(Number(said[1]), what).toBe(want.first)
        expect(Number(said[3]), what).toBe(LEN)
        if (want.mayBeShorter) last = Number(said[2])
        expect(Number(said[2]), what).toBe(last)
      }
      expect(last, what).toBeGreaterThanOrEqual(want.first)
      expect(last, what).toBeLessThan(LEN)
      expect(got.headers['content-length'], what).toBe(String(last - want.first + 1))
      expect(got.headers['content-type'], what).toBe('video/mp4')
      expect(got.headers['x-content-type-options'], what).toBe('nosniff')
      expect(got.headers['content-security-policy'], what).toMatch(/(^|;\s*)sandbox(;|$)/)
      const wanted = method === 'HEAD' ? Buffer.alloc(0) : original.subarray(want.first, last + 1)
      expect(got.body.equals(wanted), `${what}: ${got.body.length} bytes`).toBe(true)
    })
  }
})

test('open ranges, asked for one after another, make up the whole file', async ({ page, library }) => {
  const { path, stream } = library.works['MP4 with the index first']
  const original = await readFile(path)
  await controlled(page, library.relay.origin)
  let at = 0
  while (at < original.length) {
    const got = await ask(page, stream, 'GET', { range: `bytes=${at}-` })
    expect(got.status).toBe(206)
    expect(got.body.length).toBeGreaterThan(0)
    expect(got.body.equals(original.subarray(at, at + got.body.length)), `from ${at}`).toBe(true)
    at += got.body.length
  }
})

test('other methods and unknown files get a 4xx that says why', async ({ page, library }) => {
  const { id, stream } = library.works['one chunk and a byte']
  await controlled(page, library.relay.origin)
  for (const [method, path, low] of [
    ['POST', stream, 400],
    ['PUT', stream, 400],
    ['DELETE', stream, 400],
    ['GET', `/stream/${id}/no-such-file.mp4`, 404],
    ['GET', `/stream/${id}/`, 400],
    ['GET', `/stream/${id}`, 400],
    ['GET', '/stream/not-an-id/film.mp4', 400],
    ['GET', '/stream/', 400],
    ['GET', `/stream/${id}/..%2f..%2fetc%2fpasswd`, 400],
  ]) {
    const got = await ask(page, path, method, {})
    expect(got.status, `${method} ${path}`).toBeGreaterThanOrEqual(low)
    expect(got.status, `${method} ${path}`).toBeLessThan(500)
    expect(got.headers['content-type'], `${method} ${path}`).not.toMatch(/text\/html|^video/)
    expect(got.body.length, `${method} ${path}`).toBeGreaterThan(0)
  }
})

test('a reader that stops early stops the fetching', async ({ page, library, meddler }) => {
  meddler.addrs = () => []
  const { stream } = library.works['50 MB MP4']
  await controlled(page, meddler.origin)
  const before = meddler.sent(/^\/ipfs\//)
  await page.evaluate(async (url) => {
    const reader = (await fetch(url)).body.getReader()
    await reader.read()
    await reader.cancel()
  }, stream)
  // What was under way may end; then a whole request for the page passes without one more block.
  await expect
    .poll(async () => {
      const blocks = meddler.seen.length
      await page.evaluate(() => fetch('/api/v1/node', { cache: 'no-store' }).then((answer) => answer.text()))
      return meddler.seen.slice(blocks).some(({ path }) => path.startsWith('/ipfs/'))
    })
    .toBe(false)
  expect(meddler.sent(/^\/ipfs\//) - before).toBeLessThan(25_000_000)
})

async function ask(page, url, method, headers) {
  const got = await page.evaluate(
    async ({ url, method, headers }) => {
      const response = await fetch(url, { method, headers, cache: 'no-store' })
      const bytes = new Uint8Array(await response.arrayBuffer())
      let binary = ''
      for (let at = 0; at < bytes.length; at += 32_768) binary += String.fromCharCode(...bytes.subarray(at, at + 32_768))
      return { status: response.status, headers: Object.fromEntries(response.headers), base64: btoa(binary) }
    },
    { url, method, headers },
  )
  return { status: got.status, headers: got.headers, body: Buffer.from(got.base64, 'base64') }
}
