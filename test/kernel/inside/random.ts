/**
 * The random run inside the guest: lists of operations (../random.ts) until so many steps are done,
 * or one of them differs, also with longer waits; then the same list with less and less in it, as
 * long as it differs. Prints an Outcome per list, a line of JSON each; while it shrinks, of each
 * that still differs.
 */
import fc from 'fast-check'
import { type Operation, operation, slower, stepsOf } from '../random.js'
import type { Scenario } from '../language.js'
import type { Outcome } from '../verdict.js'
import { outcomeOf } from './outcome.js'
import type { Pair } from './run-scenario.js'

/** Operations of one list at most; about half of them have on average. */
const OPERATIONS_MAX = 400
/** A list that differs is run so often, with less and less in it; what is left then is told. */
const SHRINKS_MAX = 80
/** By what the waits of a list that differs are made longer. */
const SLOWER = [1.5, 1.3, 1.8]
/** Scenario numbers, which give addresses: above those of the written scenarios. */
const FIRST_INDEX = 1000
const INDEXES = 7000

const isGood = ({ failure, differences }: Outcome): boolean =>
  failure === undefined && differences.length === 0

/** Resolves when all is done, whether something differed or not. */
export async function runRandom(
  {
    seed,
    firstList,
    steps,
  }: { readonly seed: number; readonly firstList: number; readonly steps: number },
  pair: Pair,
): Promise<void> {
  let done = 0
  let shrinks = 0
  let lists = firstList - 1
  let runs = 0
  // Addresses of its own for each run: connections of those before live on.
  const nextIndex = (): number => FIRST_INDEX + ((seed + ++runs) % INDEXES)
  const generated = fc.array(operation, { minLength: 1, maxLength: OPERATIONS_MAX, size: 'max' })
  // A long list looks often, so with other waits it may come to another timer's edge.
  const isGoodWhenSlower = async (scenario: Scenario): Promise<boolean> => {
    for (const factor of SLOWER) {
      if (isGood(await outcomeOf(slower(scenario, factor), nextIndex(), pair, true))) return true
    }
    return false
  }
  const isSame = async (operations: readonly Operation[]): Promise<boolean> => {
    if (done >= steps || shrinks > SHRINKS_MAX) return true
    const scenario = stepsOf(`random ${seed}, list ${++lists}`, operations)
    const outcome = await outcomeOf(scenario, nextIndex(), pair, true)
    const isEqual = isGood(outcome)
    const atEdge = !isEqual && (await isGoodWhenSlower(scenario))
    const isGoodEnough = isEqual || atEdge
    if (shrinks > 0 || !isGoodEnough) shrinks++
    else done += scenario.steps.length
    const quiet = { ...outcome, differences: [], kernel: [], atEdge }
    console.log(JSON.stringify(isGoodEnough ? quiet : outcome))
    return isGoodEnough
  }
  await fc.check(fc.asyncProperty(generated, isSame), {
    seed,
    path: String(firstList - 1),
    numRuns: firstList + steps,
  })
}
