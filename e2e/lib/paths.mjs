// Where things are: the repository, the build's output, the cache of made media. Creates no file but the cache folders.

import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository's root. */
export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** Cargo's output folder. */
export const TARGET = process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target')

/** The binary under test: what `cargo xtask build` leaves, unless `SLUICE_BIN` names another. */
export const SLUICE = process.env.SLUICE_BIN ?? join(TARGET, 'release', 'sluice')

/** Chromium and Firefox as the system's package manager installs them. */
export const CHROMIUM = process.env.SLUICE_CHROMIUM ?? '/usr/bin/chromium'
export const FIREFOX = process.env.SLUICE_FIREFOX ?? '/usr/bin/firefox-esr'

/** A folder under the build's output that survives between runs. */
export function cacheDir(...names) {
  const path = join(TARGET, 'e2e', ...names)
  mkdirSync(path, { recursive: true })
  return path
}
