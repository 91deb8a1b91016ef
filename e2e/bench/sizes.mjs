// How much script and WASM a first visit needs before it shows a frame, as it travels.

import { openProfile } from '../lib/chromium.mjs'
import { FaultProxy, fault, gate } from '../lib/fault-proxy.mjs'
import { media } from '../lib/media.mjs'
import { Relay } from '../lib/relay.mjs'
import { within } from './visit.mjs'

const NODE = /^\/node-/
const CODE = /\.(js|mjs|wasm)(\?|$)/

/** Fills `sizes.shellBytes` and `sizes.nodeBytes`. One visit is enough: sizes do not vary. */
export async function sizes({ samples, say }) {
  say('sizes')
  const relay = await Relay.create()
  const proxy = await FaultProxy.create(relay.origin)
  const profile = await openProfile()
  try {
    const id = await relay.publish(await media('bench-720p.mp4'), { title: 'Film' })
    const later = gate()
    proxy.rules.push(fault.hold(NODE, later.opened))
    await profile.page.goto(`${proxy.origin}/w/${id}`, { waitUntil: 'commit' })
    await within(profile.page.evaluate(() => window.__frames.first()), 'no frame while the node was held back')
    // Everything asked for until now counts, arrived or not.
    const before = new Set(proxy.seen.filter(({ path }) => !NODE.test(path) && (CODE.test(path) || path.startsWith('/w/'))))
    await profile.page.evaluate(() => navigator.serviceWorker.ready)
    later.open()
    await profile.page.waitForFunction(() => document.querySelector('[data-testid=stats]')?.dataset.transport === 'webtransport')
    const files = new Map()
    for (const { path, sent, encoding } of before) {
      files.set(path, Math.max(files.get(path) ?? 0, sent))
      if (encoding !== 'br') say(`${path} was served ${encoding}, ${sent} bytes`)
    }
    samples.add('sizes.shellBytes', sum(files))
    const node = new Map()
    for (const { path, sent } of proxy.seen) if (NODE.test(path)) node.set(path, Math.max(node.get(path) ?? 0, sent))
    samples.add('sizes.nodeBytes', sum(node))
    for (const [path, len] of [...files, ...node]) say(`${path.replace(id, '{id}')}: ${len} bytes`)
  } finally {
    await profile.close()
    await proxy.close()
    await relay.remove()
  }
}

function sum(files) {
  return [...files.values()].reduce((all, len) => all + len, 0)
}
