// Runs the real `sluice` binary: a relay with a data folder of its own on the loopback, and the publishing command.
//
// A relay that is killed keeps its folder and its ports, so that `start()` brings back the very same one.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { CID } from 'multiformats/cid'
import { SLUICE, cacheDir } from './paths.mjs'

/** Longest a relay may take to say that it listens, in milliseconds. */
const START_PATIENCE_MS = 20_000

const LISTENERS = ['p2p-tcp', 'p2p-quic', 'p2p-ws', 'p2p-webtransport']

/** A relay. */
export class Relay {
  #child = null
  #log = []
  #ports = { http: 0, ...Object.fromEntries(LISTENERS.map((name) => [name, 0])) }
  #flags

  /** A relay on a new, empty data folder. `flags` are passed to `sluice serve` as they are. */
  static async create({ flags = [], under = cacheDir('relays') } = {}) {
    const relay = new Relay(await mkdtemp(join(under, 'r-')), flags)
    await relay.start()
    return relay
  }

  constructor(data, flags = []) {
    this.data = data
    this.#flags = flags
  }

  /** `http://127.0.0.1:PORT` */
  get origin() {
    return `http://127.0.0.1:${this.#ports.http}`
  }

  /** What the process printed to stderr, newest last, at most 500 lines. */
  get log() {
    return this.#log.join('\n')
  }

  get running() {
    return this.#child !== null
  }

  /** Starts it and resolves once it listens. The first start picks free ports; later ones take the same. */
  async start() {
    const args = ['serve', '--data', this.data, '--http', `127.0.0.1:${this.#ports.http}`]
    for (const name of LISTENERS) args.push(`--${name}`, `127.0.0.1:${this.#ports[name]}`)
    const child = spawn(SLUICE, [...args, ...this.#flags], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    // A run that breaks off must leave neither a relay nor its folder behind.
    const last = () => {
      child.kill('SIGKILL')
      rmSync(this.data, { recursive: true, force: true, maxRetries: 5 })
    }
    process.once('exit', last)
    child.once('exit', () => {
      process.off('exit', last)
      if (this.#child === child) this.#child = null
    })
    createInterface({ input: child.stderr }).on('line', (line) => {
      this.#log.push(line)
      if (this.#log.length > 500) this.#log.shift()
    })
    const lines = createInterface({ input: child.stdout })
    const port = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the relay did not listen in time\n${this.log}`)), START_PATIENCE_MS)
      lines.on('line', (line) => {
        const said = /^listening on http:\/\/[^ ]*:(\d+)/.exec(line)
        if (!said) return
        clearTimeout(timer)
        resolve(Number(said[1]))
      })
      child.once('exit', (code) => {
        clearTimeout(timer)
        reject(new Error(`the relay ended with ${code} before it listened\n${this.log}`))
      })
      child.once('error', (error) => {
        clearTimeout(timer)
        reject(error)
      })
    })
    this.#ports.http = port
    await this.#learnPorts()
  }

  /** Asks it to end, and waits until it has. */
  async stop() {
    await this.#end('SIGTERM')
  }

  /** Ends it at once, as a power cut would. */
  async kill() {
    await this.#end('SIGKILL')
  }

  /** Ends it and removes its folder. */
  async remove() {
    await this.kill()
    await rm(this.data, { recursive: true, force: true, maxRetries: 5 })
  }

  /** Publishes files as one work; resolves with its content id. Works beside a running relay. */
  async publish(files, { title = 'A film', ...flags } = {}) {
    const args = ['publish', ...[files].flat(), '--title', title, '--data', this.data]
    for (const [name, value] of Object.entries(flags)) args.push(`--${name}`, String(value))
    return (await sluice(args)).trim().split('\n').at(-1).trim()
  }

  /** What the relay says about a work. */
  async work(id) {
    return await (await fetch(`${this.origin}/api/v1/works/${id}`)).json()
  }

  /** A block's bytes, from the gateway. */
  async block(cid) {
    const response = await fetch(`${this.origin}/ipfs/${cid}`)
    if (!response.ok) throw new Error(`${cid}: ${response.status} ${await response.text()}`)
    return Buffer.from(await response.arrayBuffer())
  }

  /** Where the relay keeps a block. */
  blockPath(cid) {
    const name = Buffer.from(CID.parse(cid).multihash.digest).toString('hex')
    return join(this.data, 'blocks', name.slice(0, 2), name)
  }

  async #end(signal) {
    const child = this.#child
    if (!child) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }

  /** Remembers the listeners' ports from the addresses the relay announces. */
  async #learnPorts() {
    const { addrs } = await (await fetch(`${this.origin}/api/v1/node`)).json()
    for (const addr of addrs) {
      const [, transport, port, rest] = /\/(tcp|udp)\/(\d+)(.*)/.exec(addr) ?? []
      if (!transport) continue
      const name =
        transport === 'tcp' ? (/\/wss?(\/|$)/.test(rest) ? 'p2p-ws' : 'p2p-tcp') : rest.includes('webtransport') ? 'p2p-webtransport' : 'p2p-quic'
      this.#ports[name] = Number(port)
    }
  }
}

/** Runs the command and resolves with its stdout; rejects with its stderr. */
export async function sluice(args) {
  const child = spawn(SLUICE, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const out = []
  const err = []
  child.stdout.on('data', (part) => out.push(part))
  child.stderr.on('data', (part) => err.push(part))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`sluice ${args[0]} ended with ${code}: ${Buffer.concat(err)}`)
  return Buffer.concat(out).toString()
}
