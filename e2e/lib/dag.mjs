// Sluice's blocks read and made without Sluice's code: @ipld/dag-cbor, multiformats and @noble only. What this file
// and the Rust agree on is the format; see docs/PROTOCOL.md.

import * as dagCbor from '@ipld/dag-cbor'
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import { ed25519 } from '@noble/curves/ed25519.js'
import { blake3 } from '@noble/hashes/blake3.js'
import { base58btc } from 'multiformats/bases/base58'
import { CID } from 'multiformats/cid'
import * as multihash from 'multiformats/hashes/digest'

const RAW = 0x55
const DAG_CBOR = 0x71
const BLAKE3 = 0x1e
const CHUNK_LEN = 262_144
const PAGE_LINKS = 1024

const text = new TextEncoder()
const DOMAINS = { manifest: text.encode('sluice manifest v1\0'), card: text.encode('sluice card v1\0') }

/** The CID of a block. */
export function cidOf(bytes, codec = RAW) {
  return CID.create(1, codec, multihash.create(BLAKE3, blake3(bytes)))
}

/** Whether the bytes are the block that the CID names. */
export function isBlock(cid, bytes) {
  return Buffer.from(CID.parse(String(cid)).multihash.digest).equals(Buffer.from(blake3(bytes)))
}

/** A block's value; throws for bytes that are not canonical. */
export function decode(bytes) {
  const value = dagCbor.decode(bytes)
  if (!Buffer.from(dagCbor.encode(value)).equals(Buffer.from(bytes))) throw new Error('not canonical')
  return value
}

export const encode = dagCbor.encode

/** The public key of a `did:key`. */
export function publicKey(did) {
  const bytes = base58btc.decode(did.replace(/^did:key:/, ''))
  if (bytes[0] !== 0xed || bytes[1] !== 0x01) throw new Error(`${did} is no Ed25519 key`)
  return bytes.subarray(2)
}

/** The `did:key` of a public key. */
export function didKey(key) {
  return `did:key:${base58btc.encode(Uint8Array.of(0xed, 0x01, ...key))}`
}

/** Whether `creator` signed the block; `kind` is `manifest` or `card`. */
export function isSigned(kind, value, creator) {
  const { sig, ...rest } = value
  const body = Buffer.concat([DOMAINS[kind], encode(rest)])
  return ed25519.verify(sig, body, publicKey(creator), { zip215: false })
}

/** The 96-bit nonce of a chunk's place. */
export function nonce(file, chunk, last) {
  const bytes = Buffer.alloc(12)
  // The index has seven bytes: write eight, and let the file index cover the first of them.
  bytes.writeBigUInt64BE(BigInt(chunk), 3)
  bytes.writeUInt32BE(file, 0)
  bytes[11] = last ? 1 : 0
  return bytes
}

/** What a manifest says about a key. */
export function commitment(key) {
  return blake3(key, { context: text.encode('sluice 2026 key commitment v1') })
}

export function seal(key, place, plain) {
  return chacha20poly1305(key, nonce(...place)).encrypt(plain)
}

export function open(key, place, sealed) {
  return chacha20poly1305(key, nonce(...place)).decrypt(sealed)
}

/** Every block of a work, read through `get(cid) → bytes`: `{manifest, files: [{entry, pages, chunks}]}`. */
export async function readWork(id, get) {
  const manifest = decode(await get(id))
  const files = []
  for (const entry of manifest.files) {
    const chunks = []
    for (const page of entry.pages) chunks.push(...decode(await get(String(page))).map(String))
    files.push({ entry, pages: entry.pages.map(String), chunks })
  }
  return { manifest, files }
}

/** A file's plaintext, read through `get`. */
export async function readFile(manifest, index, chunks, get) {
  const { len, key } = manifest.files[index]
  const parts = []
  for (const [at, cid] of chunks.entries()) {
    parts.push(open(manifest.policy.free[key], [index, at, at === chunks.length - 1], await get(cid)))
  }
  const whole = Buffer.concat(parts)
  if (whole.length !== len) throw new Error(`${whole.length} bytes, not ${len}`)
  return whole
}

/**
 * A whole free work made here: `{id, blocks}` with blocks as CID text → bytes. `files` are `{path, type, bytes}`.
 *
 * `spoil` may change the manifest before it is signed, `spoilSigned` after: for works no honest publisher makes.
 */
export function makeWork(files, { spoil = (manifest) => manifest, spoilSigned = (manifest) => manifest, key = random32() } = {}) {
  const blocks = new Map()
  const put = (bytes, codec) => {
    const cid = cidOf(bytes, codec)
    blocks.set(String(cid), Buffer.from(bytes))
    return cid
  }
  const entries = files.map(({ path, type, bytes }, index) => {
    const count = Math.ceil(bytes.length / CHUNK_LEN)
    const chunks = Array.from({ length: count }, (_, at) =>
      put(seal(key, [index, at, at === count - 1], bytes.subarray(at * CHUNK_LEN, (at + 1) * CHUNK_LEN)), RAW),
    )
    const pages = []
    for (let at = 0; at < chunks.length; at += PAGE_LINKS) pages.push(put(encode(chunks.slice(at, at + PAGE_LINKS)), DAG_CBOR))
    return { path, type, len: bytes.length, key: 0, pages }
  })
  const secret = random32()
  const creator = didKey(ed25519.getPublicKey(secret))
  const manifest = spoil({
    v: 1,
    created: Date.now(),
    creator,
    files: entries,
    keys: [commitment(key)],
    policy: { free: [key] },
  })
  const signed = spoilSigned(sign('manifest', manifest, secret))
  const id = String(put(encode(signed), DAG_CBOR))
  const card = sign(
    'card',
    { v: 1, work: CID.parse(id), seq: 1, title: 'Made by hand', description: '', language: '', tags: [], licence: '', unlisted: false },
    secret,
  )
  const cardCid = String(put(encode(card), DAG_CBOR))
  /** The relay's answer about it. */
  const work = {
    id,
    title: 'Made by hand',
    description: '',
    language: '',
    tags: [],
    licence: '',
    poster: null,
    card: cardCid,
    card_seq: 1,
    created_ms: Date.now(),
    bytes: files.reduce((sum, { bytes }) => sum + bytes.length, 0),
    creator,
    policy: 'free',
    files: files.map(({ path, type, bytes }) => ({ path, type, len: bytes.length })),
  }
  return { id, blocks, work, manifest: signed }
}

function sign(kind, value, secret) {
  return { ...value, sig: ed25519.sign(Buffer.concat([DOMAINS[kind], encode(value)]), secret) }
}

function random32() {
  return crypto.getRandomValues(new Uint8Array(32))
}
