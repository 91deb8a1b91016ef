// One visit to a page that plays a film: navigate, wait for a real frame, seek. The same code for every contender.

import { readFileSync } from 'node:fs'

/** Bytes the loopback carried so far: TCP, QUIC and WebRTC alike, headers included. Linux only. */
export function loopbackBytes() {
  const line = readFileSync('/proc/net/dev', 'utf8').split('\n').find((row) => row.trim().startsWith('lo:'))
  return Number(line.split(':')[1].trim().split(/\s+/)[0])
}

/** Longest a visit may take before the run is given up, in milliseconds. */
const PATIENCE_MS = 60_000

/**
 * Goes to `url` and reports, counted from the start of navigation:
 * `firstFrameMs`, `wireToFirstFrame` (bytes), `seekMs`, `wireToSeek` (bytes) and `seekWasUnbuffered`.
 *
 * `atFirstFrame` is called once the frame is there, before the seek.
 */
export async function visit(page, url, { seekTo, atFirstFrame = () => {} } = {}) {
  const wireBefore = loopbackBytes()
  const startedAt = epochNow()
  await page.goto(url, { waitUntil: 'commit', timeout: PATIENCE_MS })
  const first = await within(
    page.evaluate(async () => ({ ...(await window.__frames.first()), origin: performance.timeOrigin })),
    `no frame at ${url}`,
  )
  const wireToFirstFrame = loopbackBytes() - wireBefore
  // A page that reloads itself starts its clock anew: then only the outer clock tells the truth.
  const outer = first.origin + first.at - startedAt
  const firstFrameMs = outer - first.at > 150 ? outer : first.at
  await atFirstFrame()
  const report = { firstFrameMs, wireToFirstFrame, outerMs: outer }
  if (seekTo !== undefined) {
    await within(page.evaluate(() => window.__frames.beyond(0.5)), `no playback at ${url}`)
    report.seekWasUnbuffered = !(await page.evaluate((seconds) => window.__frames.buffered(seconds), seekTo))
    report.seekMs = (await within(page.evaluate((seconds) => window.__frames.seek(seconds), seekTo), `no frame after a seek at ${url}`)).took
    report.wireToSeek = loopbackBytes() - wireBefore
  }
  return report
}

/** `promise`, or an error that says what did not happen in time. */
export async function within(promise, what, ms = PATIENCE_MS) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} within ${ms / 1000} s`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Looks into the page every 25 ms until `holds` of what `look` finds there. */
export async function until(page, look, holds, what) {
  const giveUpAt = performance.now() + PATIENCE_MS
  while (!holds(await page.evaluate(look))) {
    if (performance.now() > giveUpAt) throw new Error(`${what} within ${PATIENCE_MS / 1000} s`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

function epochNow() {
  return performance.timeOrigin + performance.now()
}
