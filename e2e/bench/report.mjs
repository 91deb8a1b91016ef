// From samples to the two reports: a flat `bench.json` for machines, `docs/BENCHMARKS.md` for people.

import { execFileSync } from 'node:child_process'
import { cpus, release, totalmem } from 'node:os'
import { CHROMIUM } from '../lib/paths.mjs'

/** name in bench.json → {what, reach, holds, value}. The order is the table's. */
export const TARGETS = [
  {
    name: 'warm_first_frame_vs_http',
    what: 'warm first frame ÷ plain HTTP',
    most: 1.25,
    value: (s) => s.median('sluice.warm.firstFrameMs') / s.median('http.warm.firstFrameMs'),
  },
  {
    name: 'cold_first_frame_vs_webtorrent',
    what: 'cold visit to first frame ÷ WebTorrent’s, browser peer',
    most: 0.4,
    value: (s) => s.median('sluice.cold.firstFrameMs') / s.median('webtorrent.peer.firstFrameMs'),
  },
  {
    name: 'cold_first_frame_vs_webseed',
    what: 'the same ÷ WebTorrent with a web seed',
    most: 0.5,
    value: (s) => s.median('sluice.cold.firstFrameMs') / s.median('webtorrent.webseed.firstFrameMs'),
  },
  {
    name: 'seek_vs_http',
    what: 'seek to an unbuffered place ÷ plain HTTP',
    most: 2,
    value: (s) => s.median('sluice.cold.seekMs', 'sluice.warm.seekMs') / s.median('http.cold.seekMs', 'http.warm.seekMs'),
  },
  {
    name: 'shell_kib_brotli',
    what: 'script and WASM needed before the first frame, KiB brotli',
    most: 160,
    value: (s) => s.median('sizes.shellBytes') / 1024,
  },
  {
    name: 'node_kib_brotli',
    what: 'node module, KiB brotli',
    most: 430,
    value: (s) => s.median('sizes.nodeBytes') / 1024,
  },
  {
    name: 'webtransport_vs_http',
    what: '100 MB relay → tab over WebTransport, verified and stored ÷ `fetch` over HTTP',
    least: 0.3,
    value: (s) => s.median('transfer.httpMs') / s.median('transfer.webtransportMs'),
  },
  {
    name: 'publish_vs_cp_b3sum',
    what: '`sluice publish` of 1 GiB ÷ (`cp`, `sync`, `b3sum`)',
    most: 3,
    value: (s) => s.median('publish.sluiceMs') / s.median('publish.cpSyncB3sumMs'),
  },
]

/** What bench.json holds: only what was measured. */
export function figures(samples) {
  const out = {}
  for (const { name, value } of TARGETS) {
    const figure = value(samples)
    if (Number.isFinite(figure)) out[name] = Math.round(figure * 1000) / 1000
  }
  return out
}

/** Whether a figure reaches its target. */
export function holds({ most, least }, figure) {
  return most !== undefined ? figure <= most : figure >= least
}

/** The report for people. */
export function markdown({ samples, rounds, date }) {
  const got = figures(samples)
  const lines = [
    '# Benchmarks',
    '',
    'Written by `cargo xtask bench`; do not edit. Every figure is a ratio of medians taken in one run on one machine, over',
    'the loopback, contenders interleaved; every raw sample of the run is in `target/bench-raw.json`.',
    '',
    `${date}. ${machine()}. Rounds: ${rounds}.`,
    '',
    '| what | name | reach | figure | |',
    '|---|---|---|---|---|',
  ]
  for (const target of TARGETS) {
    const figure = got[target.name]
    const reach = target.most !== undefined ? `≤ ${target.most}` : `≥ ${target.least}`
    const verdict = figure === undefined ? 'not measured' : holds(target, figure) ? 'reached' : `missed by ${missedBy(target, figure)} %`
    lines.push(`| ${target.what} | \`${target.name}\` | ${reach} | ${figure === undefined ? '–' : round(figure)} | ${verdict} |`)
  }
  lines.push('', '## Visits', '', 'Milliseconds from the start of navigation; median (least–most).', '')
  lines.push('| visit | first frame | seek | KiB on the wire to the first frame | to the seek’s frame |', '|---|---|---|---|---|')
  for (const [name, prefix] of [
    ['plain HTTP, empty profile', 'http.cold'],
    ['plain HTTP, been there', 'http.warm'],
    ['Sluice, empty profile', 'sluice.cold'],
    ['Sluice, been there (work not stored)', 'sluice.warm'],
    ['Sluice, work stored', 'sluice.stored'],
    ['WebTorrent, a tab seeds', 'webtorrent.peer'],
    ['WebTorrent, a web seed', 'webtorrent.webseed'],
  ]) {
    if (!samples.has(`${prefix}.firstFrameMs`)) continue
    const cell = (key, scale = 1) => spread(samples, `${prefix}.${key}`, scale)
    lines.push(`| ${name} | ${cell('firstFrameMs')} | ${cell('seekMs')} | ${cell('wireToFirstFrame', 1024)} | ${cell('wireToSeek', 1024)} |`)
  }
  lines.push('', '## The rest', '', '| what | median (least–most) |', '|---|---|')
  for (const [what, name, scale] of [
    ['our script and WASM before the first frame, KiB brotli', 'sizes.shellBytes', 1024],
    ['our node module, KiB brotli', 'sizes.nodeBytes', 1024],
    ['WebTorrent’s scripts, KiB brotli', 'webtorrent.scriptBytes', 1024],
    ['100 MB over WebTransport, verified and stored, ms', 'transfer.webtransportMs', 1],
    ['100 MB over WebTransport and through the service worker, opened too, ms', 'transfer.throughWorkerMs', 1],
    ['100 MB by `fetch` over HTTP, ms', 'transfer.httpMs', 1],
    ['`sluice publish` of 1 GiB, ms', 'publish.sluiceMs', 1],
    ['`cp`, `sync`, `b3sum` of 1 GiB, ms', 'publish.cpSyncB3sumMs', 1],
  ]) {
    if (samples.has(name)) lines.push(`| ${what} | ${spread(samples, name, scale)} |`)
  }
  if (samples.failures.length > 0) {
    lines.push('', 'Broke off and were made again:', '', ...samples.failures.map((line) => `- ${line}`))
  }
  lines.push(...DEFINITIONS)
  return `${lines.join('\n')}\n`
}

const DEFINITIONS = [
  '',
  '## What is measured',
  '',
  '- **Film**: one MP4 of 60 s, 1280×720, H.264 at 4.3 Mbit/s with AAC, index first, 33 MB; the same bytes for everyone.',
  '- **Visit**: a Chromium with a profile of its own on disk, which has shown a neutral page of another origin; then one',
  '  navigation. Every player is muted and told to play the moment its `<video>` exists.',
  '- **First frame**: from the start of navigation to the first `requestVideoFrameCallback`.',
  '- **Empty profile** (cold): never been to the site. **Been there** (warm): the same profile has played *another* film of',
  '  the site before; nothing of this film is cached or stored. **Stored**: all of this film is in the browser’s store.',
  '- **Seek**: after half a second of film, to 0:48, which the player has not buffered; until a frame from there is shown.',
  '  The ratio takes the seeks of cold and warm visits together, for both sides.',
  '- **Bytes on the wire**: what the loopback carried meanwhile, all protocols, headers and acknowledgements included;',
  '  a server that pushes ahead of the player counts with what it pushed.',
  '- **Plain HTTP**: a Node file server with ranges; the page is one `<video>`; films are `no-store`.',
  '- **WebTorrent**: npm `webtorrent`’s own browser bundle and service worker, brotli-compressed, from that server; the',
  '  torrent file is fetched from it too (no metadata exchange); no STUN server is asked; local WebSocket tracker. Once',
  '  with one seeding tab in another browser process and no web seed, once with a web seed on that server and no peer.',
  '- **Script and WASM before the first frame**: bodies of every script and WASM file requested before the first frame of a',
  '  cold visit, as served to a browser that accepts brotli, plus the page itself for its inline script. The node module is',
  '  held back until the first frame in that visit, which shows that nothing waits for it; it is counted apart.',
  '- **100 MB over WebTransport**: a tab runs the shipped node module and asks it for every chunk of a work of 100,000,000',
  '  bytes, 64 at a time, as the service worker does; each is verified, handed over and written to IndexedDB. No other',
  '  transport is announced to it. The time runs from the first question until the last chunk is in the database; the node',
  '  is connected before. Against it: `fetch` of the same bytes from the plain server, read to the end. The row beside it',
  '  reads the work through the service worker while the gateway has no block, which also opens each chunk.',
  '- **Publish**: the command from start to exit, on an empty data folder; source in the page cache for both sides.',
]

function spread(samples, name, scale = 1) {
  if (!samples.has(name)) return '–'
  const [least, most] = samples.range(name)
  const middle = samples.median(name)
  return least === most ? round(middle / scale) : `${round(middle / scale)} (${round(least / scale)}–${round(most / scale)})`
}

function missedBy({ most, least }, figure) {
  return Math.round((most !== undefined ? figure / most - 1 : 1 - figure / least) * 100)
}

function round(number) {
  return Math.abs(number) >= 100 ? Math.round(number).toLocaleString('en') : String(Math.round(number * 100) / 100)
}

function machine() {
  const all = cpus()
  const chromium = execFileSync(CHROMIUM, ['--version'], { stdio: ['ignore', 'pipe', 'ignore'] }).toString().trim()
  return `${all.length} × ${all[0].model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, ${chromium}, Node ${process.version}`
}
