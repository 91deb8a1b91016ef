// WebTorrent in the browser, set up as its documentation says and as quickly as it can be: the torrent file is at hand
// (no metadata exchange), its scripts come brotli-compressed from the same server as the plain film, no STUN server is
// waited for, its service worker registers while the torrent already connects.

import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join, dirname } from 'node:path'
import Tracker from 'bittorrent-tracker/server'

const dist = join(dirname(createRequire(import.meta.url).resolve('webtorrent/package.json')), 'dist')

const JS = 'text/javascript; charset=utf-8'
const HTML = 'text/html; charset=utf-8'

/** A WebSocket tracker on the loopback. */
export async function startTracker() {
  const tracker = new Tracker({ http: false, udp: false, ws: true, stats: false, trustProxy: false })
  tracker.on('error', (error) => console.error('tracker:', error.message))
  tracker.on('warning', () => {})
  const announced = new Promise((resolve) => tracker.once('start', resolve))
  await new Promise((resolve) => tracker.listen(0, '127.0.0.1', resolve))
  return {
    /** Resolves once somebody seeds. */
    announced,
    url: `ws://127.0.0.1:${tracker.ws.address().port}`,
    close: () => new Promise((resolve) => tracker.close(resolve)),
  }
}

/** WebTorrent's scripts as pages for the file server. */
export async function webtorrentPages() {
  return {
    '/webtorrent.min.js': { type: JS, body: await readFile(join(dist, 'webtorrent.min.js')) },
    '/sw.min.js': { type: JS, body: await readFile(join(dist, 'sw.min.js')) },
    '/seed.html': { type: HTML, body: '<!doctype html><meta charset=utf-8><link rel=icon href=data:,><title>seed</title>' },
  }
}

/**
 * Makes `page` seed the film at `path` on `origin`; resolves with the torrent files' bytes, one that names the tracker
 * and one that names the web seed only.
 */
export async function seed(page, { origin, path, tracker }) {
  await page.goto(`${origin}/seed.html`)
  const torrents = await page.evaluate(
    async ({ path, tracker, origin }) => {
      const { default: WebTorrent } = await import('/webtorrent.min.js')
      const bytes = await (await fetch(path)).blob()
      const name = path.split('/').pop()
      const make = (options, client) =>
        new Promise((resolve, reject) => {
          client.on('error', reject)
          client.seed(new File([bytes], name), { name, ...options }, (torrent) => resolve(torrent))
        })
      const config = { tracker: { rtcConfig: { iceServers: [] } }, dht: false, lsd: false, utPex: false }
      window.seeding = await make({ announceList: [[tracker]] }, new WebTorrent(config))
      // A torrent of its own, or the two would share an info hash and the "web seed" would have a peer.
      const other = new WebTorrent({ ...config, tracker: false })
      const web = await make({ announceList: [], urlList: [`${origin}${path}`], comment: 'web seed', private: true }, other)
      const out = [Array.from(window.seeding.torrentFile), Array.from(web.torrentFile)]
      other.destroy()
      return out
    },
    { path, tracker: tracker.url, origin },
  )
  await tracker.announced
  const [fromPeer, fromServer] = torrents.map((bytes) => Buffer.from(bytes))
  return { fromPeer, fromServer }
}

/** A page that plays the torrent at `torrent`. */
export function torrentPage(torrent, { trackers }) {
  return `<!doctype html><meta charset=utf-8><link rel=icon href=data:,><title>webtorrent</title>
<video autoplay muted controls playsinline width=960></video>
<script type=module>
import WebTorrent from '/webtorrent.min.js'
const client = new WebTorrent({ tracker: ${trackers ? '{ rtcConfig: { iceServers: [] } }' : 'false'}, dht: false, lsd: false, utPex: false })
window.client = client
const controlled = (async () => {
  const controller = await navigator.serviceWorker.register('/sw.min.js', { scope: '/' })
  if (!navigator.serviceWorker.controller)
    await new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }))
  client.createServer({ controller })
})()
const bytes = new Uint8Array(await (await fetch('${torrent}')).arrayBuffer())
client.add(bytes, { strategy: 'sequential' }, async (torrent) => {
  await controlled
  torrent.files[0].streamTo(document.querySelector('video'))
})
</script>`
}
