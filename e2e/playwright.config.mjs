// How the Chromium specifications run: one at a time (two cores), each in an empty profile, no retries.

import { join } from 'node:path'
import { defineConfig } from '@playwright/test'
import { cacheDir } from './lib/paths.mjs'

export default defineConfig({
  testDir: 'specs',
  testMatch: '*.spec.mjs',
  workers: 1,
  retries: 0,
  timeout: 120_000,
  expect: { timeout: 20_000 },
  forbidOnly: true,
  outputDir: cacheDir('test-results'),
  reporter: [['list'], ['json', { outputFile: process.env.PLAYWRIGHT_JSON_OUTPUT_FILE ?? join(cacheDir(), 'chromium.json') }]],
})
