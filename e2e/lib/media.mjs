// Test media, made once by ffmpeg and kept in the build's output folder. Sizes that must be exact are reached by
// appending an empty box (`free` in MP4, `Void` in WebM), so even "one chunk and a byte" is a film that plays.
//
// A file is written under a temporary name and renamed, so an interrupted run never leaves half a film.

import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, existsSync, openSync, closeSync, writeSync } from 'node:fs'
import { copyFile, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { cacheDir } from './paths.mjs'

const run = promisify(execFile)

/** Plaintext bytes per chunk, from the format. */
export const CHUNK_LEN = 262_144

const H264 = ['-c:v', 'libx264', '-preset', 'veryfast', '-pix_fmt', 'yuv420p']
const AAC = ['-c:a', 'aac', '-b:a', '96k']

/** A moving picture with grain (so that the rate asked for is reached) and a tone. */
function source(seconds, size) {
  return [
    '-f', 'lavfi', '-i', `testsrc2=size=${size}:rate=30:duration=${seconds},noise=alls=14:allf=t`,
    '-f', 'lavfi', '-i', `sine=frequency=440:sample_rate=48000:duration=${seconds}`,
  ]
}

function rate(kbit) {
  return ['-b:v', `${kbit}k`, '-minrate', `${kbit}k`, '-maxrate', `${kbit}k`, '-bufsize', `${kbit}k`]
}

/** name → ffmpeg's arguments. Change a name when its arguments change: the name is the cache key. */
const RECIPES = {
  // 20 s, ~4 MB: long enough to seek, short enough to make often.
  'index-first.mp4': [...source(20, '640x360'), ...H264, ...rate(1500), '-g', '60', ...AAC, '-movflags', '+faststart'],
  'index-last.mp4': [...source(20, '640x360'), ...H264, ...rate(1500), '-g', '60', ...AAC],
  'vp9.webm': [...source(20, '640x360'), '-c:v', 'libvpx-vp9', '-deadline', 'realtime', '-cpu-used', '8', '-row-mt', '1',
    '-b:v', '1500k', '-g', '60', '-c:a', 'libopus', '-b:a', '96k'],
  // 40 s, ~20 MB: playback of it outlives any fault a test injects.
  'long.mp4': [...source(40, '640x360'), ...H264, ...rate(4000), '-g', '60', ...AAC, '-movflags', '+faststart'],
  // Under one chunk, padded to the sizes around it.
  'tiny.mp4': [...source(3, '160x90'), ...H264, ...rate(200), '-g', '30', ...AAC, '-movflags', '+faststart'],
  // The benchmarks' film: 60 s of 720p at about 4.3 Mbit/s, 30 MB or more.
  'bench-720p.mp4': [...source(60, '1280x720'), ...H264, ...rate(4300), '-x264-params', 'nal-hrd=cbr', '-g', '60', ...AAC,
    '-movflags', '+faststart'],
  'poster.jpg': ['-f', 'lavfi', '-i', 'testsrc2=size=640x360:rate=1:duration=1', '-frames:v', '1', '-q:v', '5'],
}

/** The path of a film by name, made if it is not there yet. */
export async function media(name) {
  const path = join(cacheDir('media'), name)
  if (existsSync(path)) return path
  const part = join(cacheDir('media'), `.part-${process.pid}-${name}`)
  await run('ffmpeg', ['-v', 'error', '-y', ...RECIPES[name], part], { maxBuffer: 1 << 20 })
  await rename(part, path)
  return path
}

/** An MP4 of exactly `len` bytes that plays: `from` with a trailing `free` box. */
export async function paddedMp4(len, from = 'tiny.mp4') {
  const path = join(cacheDir('media'), `${basename(from, '.mp4')}-${len}.mp4`)
  if (existsSync(path)) return path
  const original = await readFile(await media(from))
  const gap = len - original.length
  if (gap < 8) throw new Error(`${from} has ${original.length} bytes: too long to pad to ${len}`)
  const box = Buffer.alloc(gap)
  box.writeUInt32BE(gap, 0)
  box.write('free', 4, 'latin1')
  return await write(path, Buffer.concat([original, box]))
}

/** A WebM of exactly `len` bytes that plays: `from` with a trailing EBML `Void`. */
export async function paddedWebm(len, from = 'vp9.webm') {
  const path = join(cacheDir('media'), `${basename(from, '.webm')}-${len}.webm`)
  if (existsSync(path)) return path
  const original = await readFile(await media(from))
  const gap = len - original.length
  if (gap < 9) throw new Error(`${from} has ${original.length} bytes: too long to pad to ${len}`)
  const element = Buffer.alloc(gap)
  element[0] = 0xec
  element.writeBigUInt64BE((1n << 56n) | BigInt(gap - 9), 1)
  return await write(path, Buffer.concat([original, element]))
}

/** `len` bytes that are no film, under a film's name. */
export async function noise(len, extension = 'mp4') {
  const path = join(cacheDir('media'), `noise-${len}.${extension}`)
  if (existsSync(path) && (await stat(path)).size === len) return path
  const part = `${path}.part-${process.pid}`
  const file = openSync(part, 'w')
  for (let left = len; left > 0; left -= 1 << 22) {
    const bytes = randomBytes(Math.min(left, 1 << 22))
    // Never by chance the signature of a format.
    if (left === len) bytes.fill(0xee, 0, Math.min(len, 16))
    writeSync(file, bytes)
  }
  closeSync(file)
  await rename(part, path)
  return path
}

/** A copy under another name, for works that must be distinct. */
export async function copyOf(path, name) {
  const to = join(cacheDir('media'), name)
  if (!existsSync(to)) await copyFile(path, to)
  return to
}

/** SHA-256 of a file, hex. */
export async function sha256File(path) {
  const hash = createHash('sha256')
  for await (const part of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(part)
  return hash.digest('hex')
}

async function write(path, bytes) {
  const part = `${path}.part-${process.pid}`
  await writeFile(part, bytes)
  await rename(part, path)
  return path
}
