/** One scenario on both directors, from its steps to what differs. */
import { compare, line } from '../compare.js'
import { type Scenario, type Step, stepText } from '../language.js'
import type { Outcome } from '../verdict.js'
import { type Pair, runScenario } from './run-scenario.js'

/** Never rejects: a scenario that could not be carried out says so in its outcome. */
export async function outcomeOf(
  one: Scenario,
  index: number,
  pair: Pair,
  isRandom = false,
): Promise<Outcome> {
  const started = performance.now()
  const spent = () => (performance.now() - started) / 1000
  const steps = one.steps.length
  try {
    const { kernel, uvs } = await runScenario(one, index, pair, isRandom)
    const titles = one.steps.map(stepText)
    const course = titles.map((title, step) => ({ title, seen: kernel[step].map(line) }))
    const differences = compare(titles, kernel, uvs, elapsed(one.steps))
    return { name: one.name, differences, guestSec: spent(), steps, kernel: course }
  } catch (error) {
    const failure = error instanceof Error ? (error.stack ?? error.message) : String(error)
    return { name: one.name, differences: [], failure, guestSec: spent(), steps, kernel: [] }
  }
}

/** Seconds waited for up to each step, itself included. */
function elapsed(steps: readonly Step[]): number[] {
  let sum = 0
  return steps.map((step) => (sum += step.kind === 'wait' ? step.sec : 0))
}
