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
    reuseExistingServer: false,
  },
})
