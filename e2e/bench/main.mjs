// `cargo xtask bench`: measures, prints, and writes target/bench.json, target/bench-raw.json and docs/BENCHMARKS.md.
//
//   node bench/main.mjs [--rounds N] [--only visits,sizes,transfer,publish,baselines]
//
// A run of a part only (`--only`, or fewer than 7 rounds) prints its figures and leaves the reports alone.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ROOT } from '../lib/paths.mjs'
import { browse } from './browse.mjs'
import { publish } from './publish.mjs'
import { TARGETS, figures, holds, markdown } from './report.mjs'
import { Samples } from './samples.mjs'
import { sizes } from './sizes.mjs'
import { transfer } from './transfer.mjs'

/** Fewest rounds a published figure may rest on. */
const ROUNDS = 7

const PARTS = { sizes, visits: browse, transfer, publish, baselines: (options) => browse({ ...options, withSluice: false }) }

const { values } = parseArgs({ options: { rounds: { type: 'string', default: String(ROUNDS) }, only: { type: 'string' } } })
const rounds = Number(values.rounds)
const parts = values.only ? values.only.split(',') : ['sizes', 'visits', 'transfer', 'publish']
const unknown = parts.find((name) => !PARTS[name])
if (unknown || !Number.isInteger(rounds) || rounds < 1) {
  console.error(unknown ? `no part is called ${unknown}; there are ${Object.keys(PARTS).join(', ')}` : '--rounds takes a whole number from 1')
  process.exit(2)
}

const started = performance.now()
const say = (line) => console.error(`bench: ${Math.round((performance.now() - started) / 1000)} s: ${line}`)
const samples = new Samples()
for (const name of parts) await PARTS[name]({ samples, rounds, say })

const local = join(ROOT, 'target')
mkdirSync(local, { recursive: true })
const date = new Date().toISOString().slice(0, 10)
const got = figures(samples)
const report = markdown({ samples, rounds, date })
if (!values.only && rounds >= ROUNDS) {
  writeFileSync(join(local, 'bench-raw.json'), `${JSON.stringify({ date, rounds, samples }, null, 1)}\n`)
  writeFileSync(join(local, 'bench.json'), `${JSON.stringify(got, null, 2)}\n`)
  writeFileSync(join(ROOT, 'docs', 'BENCHMARKS.md'), report)
} else {
  writeFileSync(join(local, 'bench-partial-raw.json'), `${JSON.stringify({ date, rounds, samples }, null, 1)}\n`)
  say('a part, or too few rounds: target/bench.json and docs/BENCHMARKS.md are left as they were')
}
console.log(report.slice(report.indexOf('| what'), report.indexOf('## What is measured')).trim())
for (const target of TARGETS) {
  if (got[target.name] !== undefined && !holds(target, got[target.name])) say(`${target.name} misses its target`)
}
