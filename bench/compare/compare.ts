/** `npm run bench -- compare`: the parts of the comparison, one after the other. */
import type { Figure, SuiteOptions } from '../report.js'
import { runGuest } from './guest.js'
import { runHost } from './host.js'

/** A part gives the figures with `only` in their names, and does nothing when it has none. */
const PARTS: readonly ((options: SuiteOptions) => Promise<Figure[]>)[] = [runGuest, runHost]

/** Runs all parts; figures in the order of the parts. */
export async function runCompare(options: SuiteOptions): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const run of PARTS) figures.push(...(await run(options)))
  return figures
}
