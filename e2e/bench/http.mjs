// A plain HTTP file server with byte ranges: the thing every other way to play a video is compared with.
//
// Text goes out brotli-compressed and cacheable, films uncompressed and `no-store`, so that each visit really fetches.

import { createReadStream, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { brotliCompressSync } from 'node:zlib'

/**
 * Serves `pages` (path → {type, body}) and `files` (path → {type, path}) on a free port of the loopback.
 */
export async function serveFiles({ pages = {}, files = {} }) {
  const texts = new Map()
  const addPage = (path, { type, body }) => {
    const raw = Buffer.from(body)
    texts.set(path, { type, raw, brotli: brotliCompressSync(raw) })
  }
  for (const [path, page] of Object.entries(pages)) addPage(path, page)
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://host')
    const text = texts.get(pathname)
    if (text) {
      const brotli = (request.headers['accept-encoding'] ?? '').includes('br')
      const body = brotli ? text.brotli : text.raw
      response.writeHead(200, {
        'content-type': text.type,
        'content-length': body.length,
        'cache-control': 'max-age=3600',
        ...(brotli ? { 'content-encoding': 'br' } : {}),
      })
      response.end(body)
      return
    }
    const file = files[pathname]
    if (!file) {
      response.writeHead(404).end()
      return
    }
    const { size } = statSync(file.path)
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
    const start = range ? Number(range[1]) : 0
    const end = range && range[2] ? Math.min(Number(range[2]), size - 1) : size - 1
    if (start >= size) {
      response.writeHead(416, { 'content-range': `bytes */${size}` }).end()
      return
    }
    response.writeHead(range ? 206 : 200, {
      'content-type': file.type,
      'content-length': end - start + 1,
      'accept-ranges': 'bytes',
      'cache-control': 'no-store',
      'access-control-allow-origin': '*',
      ...(range ? { 'content-range': `bytes ${start}-${end}/${size}` } : {}),
    })
    if (request.method === 'HEAD') {
      response.end()
      return
    }
    const stream = createReadStream(file.path, { start, end, highWaterMark: 256 * 1024 })
    stream.pipe(response)
    response.on('close', () => stream.destroy())
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    addPage,
    /** Size of a page as it travels to a browser, in bytes. */
    brotliLen: (path) => texts.get(path).brotli.length,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** The least page that plays a film. */
export function playerPage(src) {
  return `<!doctype html><meta charset=utf-8><link rel=icon href=data:,><title>plain</title><video src="${src}" autoplay muted controls playsinline width=960></video>`
}
