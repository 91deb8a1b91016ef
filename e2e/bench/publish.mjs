// `sluice publish` of 1 GiB against the cheapest thing that reads it, writes it durably and hashes it: cp, sync, b3sum.

import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { noise } from '../lib/media.mjs'
import { cacheDir } from '../lib/paths.mjs'
import { sluice } from '../lib/relay.mjs'

const run = promisify(execFile)
const GIB = 2 ** 30

/** Fills `publish.sluiceMs` and `publish.cpSyncB3sumMs`, alternating. */
export async function publish({ samples, rounds, say }) {
  const source = await noise(GIB)
  // Both sides read from the page cache from the first round on.
  await run('b3sum', [source])
  // What a round wrote stays until all are done: right after thousands of files were removed, making new ones took this
  // file system about a millisecond each, which would be counted for whoever makes files next.
  const folders = []
  try {
    for (let round = 1; round <= rounds; round += 1) {
      say(`publish, round ${round} of ${rounds}`)
      const folder = await mkdtemp(join(cacheDir('publish'), 'p-'))
      folders.push(folder)
      await run('sync')
      samples.add('publish.cpSyncB3sumMs', await timed(async () => {
        const copy = join(folder, 'copy')
        await run('cp', [source, copy])
        await run('sync')
        await run('b3sum', [copy])
      }))
      await run('sync')
      samples.add('publish.sluiceMs', await timed(() => sluice(['publish', source, '--title', 'Big', '--data', join(folder, 'data')])))
    }
  } finally {
    for (const folder of folders) await rm(folder, { recursive: true, force: true })
  }
}

async function timed(body) {
  const from = performance.now()
  await body()
  return performance.now() - from
}
