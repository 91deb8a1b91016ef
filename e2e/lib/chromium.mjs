// Starts the system's Chromium with a profile of its own, on disk, as a person's would be.

import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { chromium } from '@playwright/test'
import { CHROMIUM, cacheDir } from './paths.mjs'
import { watchFrames } from './frames.mjs'

/** Nothing here changes how pages load; it keeps the browser from talking to its vendor meanwhile. */
export const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--autoplay-policy=no-user-gesture-required',
  '--mute-audio',
]

/**
 * A browser with a fresh profile, in which every page has `window.__frames` and, with `playAtOnce`, plays its film the
 * moment it has one.
 *
 * `close()` ends it and removes the profile.
 */
export async function openProfile({ viewport = { width: 1280, height: 800 }, playAtOnce = true } = {}) {
  const profile = await mkdtemp(join(cacheDir('profiles'), 'p-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    args: FLAGS,
    viewport,
    serviceWorkers: 'allow',
  })
  if (playAtOnce) await context.addInitScript('window.__playAtOnce = true')
  await context.addInitScript(watchFrames)
  const page = context.pages()[0] ?? (await context.newPage())
  return {
    context,
    page,
    profile,
    async close() {
      await context.close()
      await rm(profile, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}
