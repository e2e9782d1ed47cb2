import { defineConfig } from '@playwright/test'

const PORT = Number(process.env['SAM_E2E_PORT'] ?? 4_173)

/** Stories against the built files and the simulated control plane, in the browser of this machine. */
export default defineConfig({
  testDir: 'e2e',
  testMatch: '*.e2e.ts',
  fullyParallel: true,
  workers: 2,
  forbidOnly: true,
  reporter: 'list',
  // Far above what a page needs: beside whatever else the machine does, only what never comes may fail a story.
  timeout: 180_000,
  expect: { timeout: 60_000, toPass: { timeout: 60_000 } },
  use: {
    baseURL: `http://127.0.0.1:${PORT}`,
    viewport: { width: 1280, height: 800 },
    launchOptions: {
      executablePath: process.env['SAM_CHROMIUM'] ?? '/usr/bin/chromium',
      args: ['--no-sandbox'],
    },
  },
  webServer: {
    command: `npx vite build --mode mock --outDir dist-e2e && npx vite preview --mode mock --outDir dist-e2e --host 127.0.0.1 --port ${PORT} --strictPort`,
    url: `http://127.0.0.1:${PORT}`,
    env: { SAM_MOCK_PACE_MS: process.env['SAM_MOCK_PACE_MS'] ?? '120' },
    timeout: 300_000, // It builds first.
    reuseExistingServer: false,
  },
})
