// The golden vectors of core/tests/data, opened and made again without a line of our Rust: what a second
// implementation needs is in the vectors and docs/PROTOCOL.md, or these tests could not pass.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ed25519 } from '@noble/curves/ed25519.js'
import { blake3 } from '@noble/hashes/blake3.js'
import { CID } from 'multiformats/cid'
import { base36 } from 'multiformats/bases/base36'
import { base58btc } from 'multiformats/bases/base58'
import * as dag from './lib/dag.mjs'
import { ROOT } from './lib/paths.mjs'

const RAW = 0x55
const DAG_CBOR = 0x71

const vectors = (name) => JSON.parse(readFileSync(join(ROOT, 'core', 'tests', 'data', `${name}.json`), 'utf8'))
const hex = (bytes) => Buffer.from(bytes).toString('hex')
const bytesOf = (text) => Buffer.from(text, 'hex')

/** Byte n is (n * 7 + 3) mod 256. */
const pattern = (len) => Uint8Array.from({ length: len }, (_, n) => (n * 7 + 3) % 256)

const u64 = (n) => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(n))
  return bytes
}

const u32 = (n) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(n)
  return bytes
}

const seal = vectors('seal')

test('the commitment is the derived key of the content key', () => {
  assert.equal(hex(dag.commitment(bytesOf(seal.key))), seal.commitment)
})

for (const { file, chunk, last, plain_len: len, nonce, tag, sealed_blake3: digest, cid } of seal.cases) {
  const place = [file, chunk, last]
  test(`a chunk of ${len} bytes at file ${file}, chunk ${chunk}, last ${last} is sealed and opened alike`, () => {
    assert.equal(hex(dag.nonce(...place)), nonce)
    const key = bytesOf(seal.key)
    const sealed = dag.seal(key, place, pattern(len))
    assert.equal(hex(sealed.subarray(-16)), tag)
    assert.equal(hex(blake3(sealed)), digest)
    assert.equal(String(dag.cidOf(sealed, RAW)), cid)
    assert.deepEqual(dag.open(key, place, sealed), pattern(len))
  })

  test(`that chunk opens at no other place: file ${file}, chunk ${chunk}, last ${last}, ${len} bytes`, () => {
    const key = bytesOf(seal.key)
    const sealed = dag.seal(key, place, pattern(len))
    for (const other of [
      [file + 1, chunk, last],
      [file, chunk + 1, last],
      [file, chunk, !last],
    ]) {
      assert.throws(() => dag.open(key, other, sealed))
    }
    const flipped = Uint8Array.from(sealed)
    flipped[flipped.length >> 1] ^= 1
    assert.throws(() => dag.open(key, place, flipped))
  })
}

for (const { links, bytes, bytes_len: len, cid } of vectors('page').cases) {
  test(`a hash page of ${links} links is made alike`, () => {
    const made = dag.encode(Array.from({ length: links }, (_, n) => dag.cidOf(u64(n), RAW)))
    assert.equal(made.length, len)
    if (bytes !== null) assert.equal(hex(made), bytes)
    assert.equal(String(dag.cidOf(made, DAG_CBOR)), cid)
    const read = dag.decode(made)
    assert.equal(read.length, links)
    assert.ok(read.every((link) => link.code === RAW && link.multihash.code === 0x1e))
  })
}

const manifests = vectors('manifest')

for (const { policy, creator, bytes, id } of manifests.cases) {
  test(`the manifest with policy ${policy} is canonical, signed and named by its hash`, () => {
    const block = bytesOf(bytes)
    assert.equal(String(dag.cidOf(block, DAG_CBOR)), id)
    const manifest = dag.decode(block)
    assert.equal(manifest.v, 1)
    assert.equal(manifest.creator, creator)
    assert.deepEqual(Object.keys(manifest.policy), [policy])
    assert.ok(dag.isSigned('manifest', manifest, creator))
    assert.ok(!dag.isSigned('card', manifest, creator), 'a manifest’s signature passed for a card’s')
    assert.ok(!dag.isSigned('manifest', { ...manifest, created: manifest.created + 1 }, creator))
    assert.equal(hex(manifest.keys[0]), hex(dag.commitment(bytesOf(manifests.key))))
    if (policy === 'free') assert.equal(hex(manifest.policy.free[0]), manifests.key)
    for (const { len, pages } of manifest.files) assert.equal(pages.length, Math.ceil(len / (262_144 * 1024)))
  })

  test(`the manifest with policy ${policy} is made alike, to the last byte`, () => {
    const seed = Buffer.from(manifests.creator_seed)
    const { sig: _sig, ...rest } = dag.decode(bytesOf(bytes))
    assert.equal(dag.didKey(ed25519.getPublicKey(seed)), creator)
    const sig = ed25519.sign(Buffer.concat([Buffer.from(manifests.domain), dag.encode(rest)]), seed)
    assert.equal(hex(dag.encode({ ...rest, sig })), bytes)
  })
}

const cards = vectors('card')

for (const { seq, title, poster, bytes, cid } of cards.cases) {
  test(`the card with sequence ${seq} is canonical and signed by the work's creator`, () => {
    const block = bytesOf(bytes)
    assert.equal(String(dag.cidOf(block, DAG_CBOR)), cid)
    const card = dag.decode(block)
    assert.equal(card.seq, seq)
    assert.equal(card.title, title)
    assert.equal(card.poster === undefined ? null : String(card.poster), poster)
    assert.equal(String(card.work), cards.work)
    assert.ok(dag.isSigned('card', card, cards.creator))
    assert.ok(!dag.isSigned('card', { ...card, title: `${title}!` }, cards.creator))
  })
}

/** The frames of the chunk protocol: type and body by name. */
const digest = blake3(Buffer.from('block'))
const place = Buffer.concat([u32(1), u64(2)])
const FRAMES = {
  head: [1, digest],
  heads: [2, Uint8Array.of(1), digest],
  get: [3, digest],
  block: [4, digest, Buffer.from('block')],
  no_block: [5, digest],
  have: [6, place, Uint8Array.of(0b1010_0000)],
  request: [7, place, Uint8Array.of(64)],
  cancel: [8, place],
  chunk: [9, place, Buffer.from('sealed')],
  no_chunk: [10, place],
  busy: [11, place, u32(250)],
  bye: [12, Uint8Array.of(1)],
}

const wire = vectors('wire')

test('there is a vector for every frame, and none besides', () => {
  assert.equal(wire.protocol, '/sluice/chunk/1')
  assert.deepEqual(wire.cases.map(({ name }) => name).sort(), Object.keys(FRAMES).sort())
})

for (const { name, bytes } of wire.cases) {
  test(`the frame ${name} is made alike`, () => {
    const [type, ...body] = FRAMES[name]
    const payload = Buffer.concat([Uint8Array.of(type), ...body])
    assert.equal(hex(Buffer.concat([u32(payload.length), payload])), bytes)
  })
}

const ranges = vectors('range')

/** RFC 9110, section 14, for one range; written anew so that it agrees by reading the same text, not the same code. */
function resolve(header, len) {
  const spec = /^bytes=(\d*)-(\d*)$/i.exec(header)
  if (!spec || (spec[1] === '' && spec[2] === '')) return { status: 200 }
  const end = BigInt(len)
  if (spec[1] === '') {
    const count = BigInt(spec[2])
    if (count === 0n) return { status: 416 }
    return { status: 206, first: Number(count > end ? 0n : end - count), last: len - 1 }
  }
  const first = BigInt(spec[1])
  const last = spec[2] === '' ? end - 1n : BigInt(spec[2])
  if (last < first && spec[2] !== '') return { status: 200 }
  if (first >= end) return { status: 416 }
  return { status: 206, first: Number(first), last: Number(last < end ? last : end - 1n) }
}

for (const { range, ...want } of ranges.cases) {
  test(`the range "${range}" of ${ranges.len} bytes is answered with ${want.status}`, () => {
    assert.deepEqual(resolve(range, ranges.len), want)
  })
}

test('an id means the same in every spelling', () => {
  const cid = CID.parse(manifests.cases[0].id)
  for (const spelling of [cid.toString(base36.encoder), cid.toString(base58btc.encoder)]) {
    const again = spelling[0] === 'k' ? CID.parse(spelling, base36) : CID.parse(spelling, base58btc)
    assert.ok(again.equals(cid))
  }
})
