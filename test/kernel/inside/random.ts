/**
 * The random run inside the guest: lists of operations (../random.ts) until so many steps are done,
 * or one of them differs; then the same list with less and less in it, as long as it differs.
 * Prints an Outcome per list, a line of JSON each; while it shrinks, of each that still differs.
 */
import fc from 'fast-check'
import { type Operation, operation, stepsOf } from '../random.js'
import { outcomeOf } from './outcome.js'
import type { Pair } from './run-scenario.js'

/** Operations of one list at most; about half of them have on average. */
const OPERATIONS_MAX = 400
/** Scenario numbers, which give addresses: above those of the written scenarios. */
const FIRST_INDEX = 1000
const INDEXES = 7000

/** Resolves when all is done, whether something differed or not. */
export async function runRandom(
  { seed, steps }: { readonly seed: number; readonly steps: number },
  pair: Pair,
): Promise<void> {
  let done = 0
  let lists = 0
  const generated = fc.array(operation, { minLength: 1, maxLength: OPERATIONS_MAX, size: 'max' })
  const isSame = async (operations: readonly Operation[]): Promise<boolean> => {
    if (done >= steps) return true
    const scenario = stepsOf(`random ${seed}, list ${++lists}`, operations)
    const index = FIRST_INDEX + ((seed + lists) % INDEXES)
    const outcome = await outcomeOf(scenario, index, pair, true)
    const isGood = outcome.failure === undefined && outcome.differences.length === 0
    console.log(JSON.stringify(isGood ? { ...outcome, kernel: [] } : outcome))
    if (isGood) done += scenario.steps.length
    return isGood
  }
  await fc.check(fc.asyncProperty(generated, isSame), { seed, numRuns: Math.max(1, steps) })
}
