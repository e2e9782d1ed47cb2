import { defineConfig } from '@playwright/test'

/** The story in the browser of this machine against the real `sam`, with containers and git. */
export default defineConfig({
  testDir: 'e2e-real',
  testMatch: '*.e2e.ts',
  outputDir: 'test-results/real',
  workers: 1,
  forbidOnly: true,
  reporter: 'list',
  // Containers start and branches are pushed for real, beside whatever else the machine does.
  timeout: 300_000,
  expect: { timeout: 90_000 },
  use: {
    viewport: { width: 1280, height: 800 },
    actionTimeout: 60_000,
    trace: 'retain-on-failure',
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath: process.env['SAM_CHROMIUM'] ?? '/usr/bin/chromium',
      args: ['--no-sandbox'],
    },
  },
})
