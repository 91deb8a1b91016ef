// A server in front of a relay that does to answers what a bad network or a bad server would: changes a bit, holds,
// drops, refuses, replaces. What passes is counted.
//
// Browsers take it for the relay: same paths, one origin. Only HTTP goes through it; whether the browser may also
// reach the relay's libp2p listeners is decided by `addrs`.

import { createServer, request as httpRequest, Agent } from 'node:http'

/** Most entries `seen` keeps. */
const MAX_SEEN = 20_000

/** A running proxy. Set `rules`, read `seen`. */
export class FaultProxy {
  /**
   * Each rule is `{match(path, request) → boolean, act(answer) → answer | promise | null, times?}`. The first match
   * acts on the relay's answer `{status, headers, body}`; `null` closes the connection instead.
   */
  rules = []
  /**
   * `{method, path, status, sent, encoding}` per request, in order of arrival. `status` is 0 until answered, `sent`
   * counts body bytes as they travel.
   */
  seen = []
  /** Rewrites the relay's announced multiaddrs; the identity at first. */
  addrs = (all) => all

  #target
  #agent = new Agent({ keepAlive: true, maxSockets: 64 })
  #server

  static async create(target) {
    const proxy = new FaultProxy(target)
    await new Promise((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    return proxy
  }

  constructor(target) {
    this.#target = target
    this.#server = createServer((request, response) => {
      this.#pass(request, response).catch(() => response.destroy())
    })
  }

  get origin() {
    return `http://127.0.0.1:${this.#server.address().port}`
  }

  /** Body bytes sent for paths that match. */
  sent(pattern = /./) {
    return this.seen.filter(({ path }) => pattern.test(path)).reduce((sum, { sent }) => sum + sent, 0)
  }

  async close() {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
    this.#agent.destroy()
  }

  async #pass(request, response) {
    const path = request.url
    const rule = this.rules.find((each) => (each.times ?? 1) > 0 && each.match(path, request))
    if (rule?.times) rule.times -= 1
    const wholeBodyNeeded = (rule && !rule.keepsBody) || path === '/api/v1/node'
    const entry = { method: request.method, path, status: 0, sent: 0, encoding: 'identity' }
    if (this.seen.length < MAX_SEEN) this.seen.push(entry)
    if (rule?.before) {
      const early = await rule.before()
      if (early) {
        this.#reply(response, early, entry)
        return
      }
    }
    const answer = await this.#ask(request, wholeBodyNeeded)
    if (!wholeBodyNeeded) {
      entry.status = answer.statusCode
      entry.encoding = answer.headers['content-encoding'] ?? 'identity'
      response.writeHead(answer.statusCode, answer.headers)
      answer.on('data', (part) => (entry.sent += part.length))
      answer.on('error', () => response.destroy())
      response.on('close', () => answer.destroy())
      answer.pipe(response)
      return
    }
    const parts = []
    for await (const part of answer) parts.push(part)
    let whole = { status: answer.statusCode, headers: { ...answer.headers }, body: Buffer.concat(parts) }
    if (path === '/api/v1/node' && whole.status === 200) {
      const node = JSON.parse(whole.body.toString())
      whole.body = Buffer.from(JSON.stringify({ ...node, addrs: this.addrs(node.addrs) }))
    }
    if (rule?.act) whole = await rule.act(whole)
    if (whole === null) {
      response.destroy()
      return
    }
    this.#reply(response, whole, entry)
  }

  #reply(response, { status, headers = {}, body = Buffer.alloc(0) }, entry) {
    entry.status = status
    entry.sent = body.length
    const out = { ...headers, 'content-length': body.length }
    delete out['transfer-encoding']
    response.writeHead(status, out)
    response.end(body)
  }

  #ask(request, plain) {
    const headers = { ...request.headers }
    if (plain) {
      // A body that is to be changed must come, and come as it is.
      headers['accept-encoding'] = 'identity'
      delete headers['if-none-match']
      delete headers['if-modified-since']
    }
    return new Promise((resolve, reject) => {
      const onward = httpRequest(
        `${this.#target}${request.url}`,
        { method: request.method, headers, agent: this.#agent },
        resolve,
      )
      onward.on('error', reject)
      request.pipe(onward)
    })
  }
}

/** Rules for the faults the specifications name. */
export const fault = {
  /** Flips one bit of the block. */
  flip: (cid, times = Infinity) => ({
    match: (path) => path.startsWith(`/ipfs/${cid}`),
    times,
    act: (answer) => {
      if (answer.body.length === 0) return answer
      const body = Buffer.from(answer.body)
      body[body.length >> 1] ^= 1
      return { ...answer, body }
    },
  }),
  /** Answers 404 to paths that match. */
  missing: (pattern, times = Infinity) => ({
    match: (path) => pattern.test(path),
    times,
    before: () => ({
      status: 404,
      headers: { 'content-type': 'application/problem+json' },
      body: Buffer.from('{"type":"about:blank","title":"Not Found","status":404,"detail":"not here; ask another relay"}'),
    }),
  }),
  /** Closes the connection instead of answering. */
  drop: (pattern, times = Infinity) => ({ match: (path) => pattern.test(path), times, act: () => null }),
  /** Lets no matching answer through before `gate` resolves. */
  hold: (pattern, gate) => ({
    match: (path) => pattern.test(path),
    times: Infinity,
    keepsBody: true,
    before: async () => {
      await gate
      return null
    },
  }),
  /** Answers with other bytes. */
  replace: (match, answer) => ({ match, times: Infinity, before: () => answer }),
}

/** A promise with its own resolver. */
export function gate() {
  let open
  const opened = new Promise((resolve) => {
    open = resolve
  })
  return { opened, open }
}
