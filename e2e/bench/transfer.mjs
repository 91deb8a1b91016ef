// 100 MB from the relay into a tab: over WebTransport, verified, opened and stored, against a `fetch` over HTTP.

import { openProfile } from '../lib/chromium.mjs'
import { FaultProxy, fault } from '../lib/fault-proxy.mjs'
import { noise } from '../lib/media.mjs'
import { Relay } from '../lib/relay.mjs'
import { storedChunks } from './browse.mjs'
import { serveFiles } from './http.mjs'
import { within } from './visit.mjs'

const LEN = 100_000_000
const CHUNKS = Math.ceil(LEN / 262_144)

/** Fills `transfer.webtransportMs` and `transfer.httpMs`, alternating. */
export async function transfer({ samples, rounds, say }) {
  const source = await noise(LEN)
  const relay = await Relay.create()
  const proxy = await FaultProxy.create(relay.origin)
  const http = await serveFiles({
    pages: { '/': { type: 'text/html', body: '<!doctype html><title>plain</title>' } },
    files: { '/bytes': { type: 'application/octet-stream', path: source } },
  })
  try {
    const id = await relay.publish(source, { title: '100 MB' })
    const { files } = await relay.work(id)
    for (let round = 1; round <= rounds; round += 1) {
      say(`transfer, round ${round} of ${rounds}`)
      const plain = await openProfile()
      await plain.page.goto(http.origin)
      samples.add('transfer.httpMs', await read(plain.page, '/bytes'))
      await plain.close()

      const ours = await openProfile()
      proxy.rules.length = 0
      await ours.page.goto(`${proxy.origin}/w/${id}`)
      await ours.page.waitForFunction(() => document.querySelector('[data-testid=stats]')?.dataset.transport === 'webtransport')
      // From here on the gateway has no block: whatever comes, comes over WebTransport.
      proxy.rules.push(fault.missing(/^\/ipfs\//))
      const from = performance.now()
      await read(ours.page, `/stream/${id}/${files[0].path}`)
      await storedChunks(ours.page, CHUNKS)
      samples.add('transfer.webtransportMs', performance.now() - from)
      await ours.close()
    }
  } finally {
    await http.close()
    await proxy.close()
    await relay.remove()
  }
}

/** Milliseconds to read a response to its end, without keeping it. */
async function read(page, url) {
  const { took, len } = await within(
    page.evaluate(async (target) => {
      const from = performance.now()
      const response = await fetch(target, { cache: 'no-store' })
      if (!response.ok) throw new Error(`${target}: ${response.status}`)
      const reader = response.body.getReader()
      let len = 0
      for (;;) {
        const { done, value } = await reader.read()
        if (done) break
        len += value.length
      }
      return { took: performance.now() - from, len }
    }, url),
    `${url} was not read to its end`,
  )
  if (len !== LEN) throw new Error(`${url}: ${len} bytes, not ${LEN}`)
  return took
}
