/** Puts the report of a comparison and its charts into a folder. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Figure } from '../report.js'
import { thisMachine } from './machine.js'
import { comparisonReport } from './report.js'

/** Makes the folder where it is absent, and replaces an earlier report in it. */
export function writeComparison(folder: string, figures: readonly Figure[]): void {
  mkdirSync(folder, { recursive: true })
  for (const [name, text] of comparisonReport(figures, thisMachine())) {
    writeFileSync(join(folder, name), text)
  }
}
