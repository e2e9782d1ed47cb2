import real from './playwright.real.config'
import { defineConfig } from '@playwright/test'

/** Pictures of a real server's pages, in both themes and two widths, in `test-results/real-screenshots`. */
export default defineConfig(real, { testMatch: 'screenshots.ts' })
