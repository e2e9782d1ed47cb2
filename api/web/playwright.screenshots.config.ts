import stories from './playwright.config'
import { defineConfig } from '@playwright/test'

/** Pictures of every page, in both themes and two widths, in `test-results/screenshots`. */
export default defineConfig(stories, { testMatch: 'screenshots.ts' })
