// How the web UI is built and served while it is being written.
//
// `--mode mock` answers `/api` from the simulated control plane in `mock/`, in the development server and in
// the preview of the built files alike; without it `/api` goes to a running `sam serve`.

import { fileURLToPath } from 'node:url'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'
import { simulatedControlPlane } from './mock/plugin.ts'

const CONTROL_PLANE = 'http://127.0.0.1:8080'

export default defineConfig(({ mode }) => ({
  plugins: [react(), ...(mode === 'mock' ? [simulatedControlPlane()] : [])],
  resolve: { alias: { '~': fileURLToPath(new URL('./src', import.meta.url)) } },
  build: { target: 'es2022', sourcemap: false, chunkSizeWarningLimit: 700 },
  server: mode === 'mock' ? {} : { proxy: { '/api': { target: CONTROL_PLANE, ws: true } } },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
}))
