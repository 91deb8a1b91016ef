// 100 MB from the relay into a tab over WebTransport, verified and stored, against a `fetch` of the bytes over HTTP.
//
// The tab runs the shipped node module and asks it for every chunk over its port, as the service worker does. A second
// figure reads the same work through the service worker, which also opens each chunk and feeds a response.

import { encode as cbor } from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'
import { openProfile } from '../lib/chromium.mjs'
import { readWork } from '../lib/dag.mjs'
import { FaultProxy, fault } from '../lib/fault-proxy.mjs'
import { noise } from '../lib/media.mjs'
import { Relay } from '../lib/relay.mjs'
import { storedChunks } from './browse.mjs'
import { serveFiles } from './http.mjs'
import { until, within } from './visit.mjs'

const LEN = 100_000_000
const CHUNKS = Math.ceil(LEN / 262_144)

/** Where the proxy puts a page of ours on the relay's origin. */
const BARE = '/bare'

/** Questions open at once; the node answers at most 128 per port. */
const WINDOW = 64

/** Fills `transfer.webtransportMs`, `transfer.throughWorkerMs` and `transfer.httpMs`, alternating. */
export async function transfer({ samples, rounds, say }) {
  const source = await noise(LEN)
  const relay = await Relay.create()
  const front = await FaultProxy.create(relay.origin)
  // No WebSocket to fall back to: what comes, comes over WebTransport.
  front.addrs = (all) => all.filter((addr) => addr.includes('/webtransport'))
  const html = Buffer.from('<!doctype html><title>bare</title>')
  const bare = fault.replace((path) => path === BARE, { status: 200, headers: { 'content-type': 'text/html' }, body: html })
  const http = await serveFiles({
    pages: { '/': { type: 'text/html', body: '<!doctype html><title>plain</title>' } },
    files: { '/bytes': { type: 'application/octet-stream', path: source } },
  })
  try {
    const id = await relay.publish(source, { title: '100 MB' })
    const { files } = await readWork(id, (cid) => relay.block(cid))
    const asks = questions(id, files[0].chunks)
    const { node_js: module } = await (await fetch(`${relay.origin}/shell.json`)).json()
    for (let round = 1; round <= rounds; round += 1) {
      say(`transfer, round ${round} of ${rounds}`)
      await samples.attempt('fetch over HTTP', () =>
        inProfile(async (page) => {
          await page.goto(http.origin)
          samples.add('transfer.httpMs', await read(page, '/bytes'))
        }),
      )
      await samples.attempt('100 MB over WebTransport', () =>
        inProfile(async (page) => {
          front.rules = [bare]
          await page.goto(`${front.origin}${BARE}`)
          await within(page.evaluate(startNode, { module, probe: asks.probe }), 'the node did not reach WebTransport')
          const from = performance.now()
          await within(page.evaluate(askAll, { asks: asks.chunks, window: WINDOW }), 'not every chunk came')
          await storedChunks(page, CHUNKS)
          samples.add('transfer.webtransportMs', performance.now() - from)
        }),
      )
      await samples.attempt('100 MB through the service worker', () =>
        inProfile(async (page) => {
          front.rules = []
          await page.goto(`${front.origin}/w/${id}`)
          await until(
            page,
            () => document.querySelector('[data-testid=stats]')?.dataset.transport,
            (transport) => transport === 'webtransport',
            'the node did not reach WebTransport',
          )
          // From here on the gateway has no block.
          front.rules = [fault.missing(/^\/ipfs\//)]
          const from = performance.now()
          await read(page, `/stream/${id}/${files[0].entry.path}`)
          await storedChunks(page, CHUNKS)
          samples.add('transfer.throughWorkerMs', performance.now() - from)
        }),
      )
    }
  } finally {
    await http.close()
    await front.close()
    await relay.remove()
  }
}

/**
 * The bridge's messages (`core/src/bridge.rs`, `ToNode`): CBOR of variant and fields by number. `probe` asks for the
 * manifest, `chunks` for every chunk of file 0.
 */
function questions(id, chunks) {
  const digest = (cid) => CID.parse(cid).multihash.digest
  const URGENT = 0
  const base64 = (message) => Buffer.from(cbor(message)).toString('base64')
  return {
    probe: base64([1, [0, digest(id), digest(id)]]),
    chunks: chunks.map((cid, index) => base64([2, [index + 1, digest(id), 0, index, digest(cid), URGENT]])),
  }
}

/** Runs inside the page: starts the node and resolves once it has delivered a block. */
async function startNode({ module, probe }) {
  const { default: init, start } = await import(module)
  await init()
  const { port1: port, port2 } = new MessageChannel()
  start(port2)
  const post = (text) => port.postMessage([Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0)), null])
  window.node = { port, post }
  await new Promise((resolve) => {
    // Refused until the relay is reached; each refusal takes a turn of the event loop.
    port.onmessage = ({ data: [, payload] }) => (payload ? resolve() : setTimeout(() => post(probe), 20))
    post(probe)
  })
}

/** Runs inside the page: asks for everything, `window` at a time, and resolves once all of it came. */
async function askAll({ asks, window: open }) {
  const { port, post } = window.node
  let next = 0
  let come = 0
  await new Promise((resolve, reject) => {
    port.onmessage = ({ data: [message, payload] }) => {
      // [2, status] is no answer.
      if (message[1] === 2) return
      if (!payload) {
        reject(new Error('the node refused a chunk'))
        return
      }
      come += 1
      if (next < asks.length) post(asks[next++])
      if (come === asks.length) resolve()
    }
    while (next < open) post(asks[next++])
  })
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

async function inProfile(body) {
  const profile = await openProfile()
  try {
    await body(profile.page)
  } finally {
    await profile.close()
  }
}
