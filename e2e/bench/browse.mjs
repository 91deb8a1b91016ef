// First frame and seek, as a visitor has them, for every contender in turn.
//
// Interleaved: one round visits all of them, so that whatever else the machine does meets all alike. Each visit starts
// from a neutral page of another origin in a browser that has been running for a moment.

import { openProfile } from '../lib/chromium.mjs'
import { media } from '../lib/media.mjs'
import { Relay } from '../lib/relay.mjs'
import { countStored, isShellKept } from '../lib/store.mjs'
import { playerPage, serveFiles } from './http.mjs'
import { until, visit, within } from './visit.mjs'
import { seed, startTracker, torrentPage, webtorrentPages } from './webtorrent.mjs'

/** Where the seek goes, in seconds of a film of 60. */
const SEEK_TO = 48

const HTML = 'text/html; charset=utf-8'

/** Runs `rounds` rounds and fills `samples`. `withSluice` false leaves our own visits out (no binary yet). */
export async function browse({ samples, rounds, say, withSluice = true }) {
  const film = await media('bench-720p.mp4')
  const other = await media('index-first.mp4')
  const closing = []
  try {
    const tracker = await startTracker()
    closing.push(() => tracker.close())
    const http = await serveFiles({
      pages: {
        ...(await webtorrentPages()),
        '/film.html': { type: HTML, body: playerPage('/film.mp4') },
        '/other.html': { type: HTML, body: playerPage('/other.mp4') },
      },
      files: { '/film.mp4': { type: 'video/mp4', path: film }, '/other.mp4': { type: 'video/mp4', path: other } },
    })
    closing.push(() => http.close())
    const neutral = await serveFiles({ pages: { '/': { type: HTML, body: playerPage('data:,') } } })
    closing.push(() => neutral.close())

    const seeder = await openProfile()
    closing.push(() => seeder.close())
    const torrents = await within(
      seed(seeder.page, { origin: http.origin, path: '/film.mp4', tracker }),
      'the seeding tab did not come up',
    )
    http.addPage('/peer.torrent', { type: 'application/x-bittorrent', body: torrents.fromPeer })
    http.addPage('/web.torrent', { type: 'application/x-bittorrent', body: torrents.fromServer })
    http.addPage('/peer.html', { type: HTML, body: torrentPage('/peer.torrent', { trackers: true }) })
    http.addPage('/web.html', { type: HTML, body: torrentPage('/web.torrent', { trackers: false }) })
    samples.add('webtorrent.scriptBytes', http.brotliLen('/webtorrent.min.js') + http.brotliLen('/sw.min.js'))

    let relay
    let works
    if (withSluice) {
      relay = await Relay.create()
      closing.push(() => relay.remove())
      works = { film: await relay.publish(film, { title: 'Film' }), other: await relay.publish(other, { title: 'Other' }) }
    }

    const inProfile = async (body) => {
      const profile = await openProfile()
      try {
        await profile.page.goto(neutral.origin)
        await body(profile.page)
      } finally {
        await profile.close()
      }
    }
    const contenders = {
      'plain HTTP': () =>
        inProfile(async (page) => {
          samples.addAll('http.cold', await visit(page, `${http.origin}/film.html`, { seekTo: SEEK_TO }))
        }),
      'plain HTTP, been there': () =>
        inProfile(async (page) => {
          await visit(page, `${http.origin}/other.html`)
          await page.goto(neutral.origin)
          samples.addAll('http.warm', await visit(page, `${http.origin}/film.html`, { seekTo: SEEK_TO }))
        }),
      'WebTorrent, a tab seeds': () =>
        inProfile(async (page) => {
          samples.addAll('webtorrent.peer', await visit(page, `${http.origin}/peer.html`, { seekTo: SEEK_TO }))
        }),
      'WebTorrent, a web seed': () =>
        inProfile(async (page) => {
          samples.addAll('webtorrent.webseed', await visit(page, `${http.origin}/web.html`, { seekTo: SEEK_TO }))
        }),
      ...(withSluice && {
        'Sluice, cold': () =>
          inProfile(async (page) => {
            samples.addAll('sluice.cold', await visit(page, `${relay.origin}/w/${works.film}`, { seekTo: SEEK_TO }))
          }),
        'Sluice, been there; then stored': () =>
          inProfile(async (page) => {
            await visit(page, `${relay.origin}/w/${works.other}`)
            await settled(page)
            await page.goto(neutral.origin)
            samples.addAll('sluice.warm', await visit(page, `${relay.origin}/w/${works.film}`, { seekTo: SEEK_TO }))
            await whole(page, relay, works.film)
            await page.goto(neutral.origin)
            samples.addAll('sluice.stored', await visit(page, `${relay.origin}/w/${works.film}`, { seekTo: SEEK_TO }))
          }),
      }),
    }
    for (let round = 1; round <= rounds; round += 1) {
      for (const [name, run] of Object.entries(contenders)) {
        say(`visits, round ${round} of ${rounds}: ${name}`)
        await samples.attempt(name, run)
      }
    }
  } finally {
    for (const close of closing.reverse()) await close().catch((error) => say(`while closing: ${error.message}`))
  }
}

/** What a first visit leaves behind is complete: the worker controls and keeps the shell, the node is connected. */
async function settled(page) {
  await within(
    page.evaluate(async () => {
      await navigator.serviceWorker.ready
      if (!navigator.serviceWorker.controller) {
        await new Promise((resolve) => navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }))
      }
    }),
    'no service worker took control',
  )
  await until(page, isShellKept, (kept) => kept, 'the shell was not kept')
  await page.waitForFunction(
    () => document.querySelector('[data-testid=stats]')?.dataset.transport === 'webtransport',
    undefined,
    { timeout: 30_000 },
  )
}

/** Fetches the whole file once and waits until its chunks are in the browser's store. */
async function whole(page, relay, id) {
  const { files } = await relay.work(id)
  const url = `/stream/${id}/${files[0].path}`
  await within(
    page.evaluate(async (target) => {
      const reader = (await fetch(target)).body.getReader()
      while (!(await reader.read()).done);
    }, url),
    'the film was not read to its end',
  )
  await storedChunks(page, Math.ceil(files[0].len / 262_144))
}

/** Resolves once the browser's database holds `count` chunks. */
export async function storedChunks(page, count) {
  await until(page, countStored, (stored) => stored >= count, `${count} chunks were not stored`)
}
