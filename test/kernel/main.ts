/**
 * `npm run test:kernel [-- [--only TEXT] [--show]]`: every differential scenario against the real
 * IPVS, a line for each. The last line is `N scenarios: N equal, N documented, N different`; the
 * exit status is 1 when anything is different or a documented difference does not occur any more.
 *
 * `npm run test:kernel -- --random STEPS [--seed N] [--list N]`: random operations instead, the
 * seed counting up from guest to guest, beginning with list N of the first. The last line is
 * `N random steps of N: N lists, N at the edge of a timer, N different`.
 */
import { parseArgs } from 'node:util'
import { guestProblem } from '../../bench/kernel/rig.js'
import { usageInstead } from '../../bench/support/usage.js'
import { runRandomly, runScenarios } from './run.js'
import { SCENARIOS } from './scenarios/index.js'
import { courseText, type Outcome, outcomeText, staleEntries, verdictOf } from './verdict.js'

const USAGE = `usage: test:kernel [--only TEXT] [--show]
       test:kernel --random STEPS [--seed N] [--list N]`

const LIMIT_SEC = 3600

/** Random steps in one guest: so that one mistake does not cost the rest. */
const STEPS_PER_GUEST = 5000

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      show: { type: 'boolean', default: false },
      random: { type: 'string' },
      seed: { type: 'string', default: '1' },
      list: { type: 'string', default: '1' },
    },
  })
  const problem = guestProblem()
  if (problem !== undefined) {
    console.error(`SKIPPED: no scenario was run, because there is no guest here: ${problem}`)
    return process.env.CI === 'true' ? 1 : 0
  }
  if (values.random !== undefined) {
    const numbers = [values.random, values.seed, values.list].map(Number)
    const [steps, seed, list] = numbers
    if (numbers.every(Number.isSafeInteger) && steps > 0 && list > 0) {
      return random(steps, seed, list)
    }
    console.error(USAGE)
    return 2
  }
  const outcomes: Outcome[] = []
  const counts = { equal: 0, documented: 0, different: 0 }
  let since = performance.now()
  await runScenarios({
    wanted: (name) => values.only === undefined || name.includes(values.only),
    limitSec: LIMIT_SEC,
    onOutcome(outcome) {
      outcomes.push(outcome)
      counts[verdictOf(outcome)]++
      const now = performance.now()
      console.log(`${((now - since) / 1000).toFixed(1).padStart(6)} s  ${outcomeText(outcome)}`)
      if (values.show) console.log(courseText(outcome))
      since = now
    },
  })
  const isWhole = outcomes.length === SCENARIOS.length
  const stale = isWhole ? staleEntries(outcomes) : []
  for (const { scenario, behaviour } of stale) {
    console.log(`stale: "${scenario}" does not show "${behaviour}" any more; see documented.ts`)
  }
  const numbers = Object.entries(counts).map(([verdict, count]) => `${count} ${verdict}`)
  console.log(`${outcomes.length} scenarios: ${numbers.join(', ')}`)
  return counts.different + stale.length > 0 || outcomes.length === 0 ? 1 : 0
}

async function random(steps: number, firstSeed: number, firstList: number): Promise<number> {
  let [asked, done, lists, different, atEdge] = [0, 0, 0, 0, 0]
  for (let seed = firstSeed; asked < steps; seed++) {
    const wanted = Math.min(STEPS_PER_GUEST, steps - asked)
    let worst: Outcome | undefined
    let here = 0
    const started = performance.now()
    await runRandomly({
      seed,
      firstList: seed === firstSeed ? firstList : 1,
      steps: wanted,
      limitSec: LIMIT_SEC,
      onOutcome(outcome) {
        if (verdictOf(outcome) === 'different') {
          if (worst === undefined) {
            console.log(`${courseText(outcome)}\n${outcomeText(outcome)}\n    making it smaller...`)
          }
          worst = outcome
        }
        if (worst === undefined) {
          lists++
          if (outcome.atEdge === true) atEdge++
          here += outcome.steps
          const sec = (performance.now() - started) / 1000
          console.log(`${sec.toFixed(1).padStart(6)} s  ${outcome.name}: ${here} steps so far`)
        }
      },
    })
    console.log(`seed ${seed}: ${here} steps${worst === undefined ? '' : ', then different'}`)
    if (worst !== undefined) {
      different++
      console.log(`${courseText(worst)}\n${outcomeText(worst)}`)
    }
    asked += wanted
    // A guest ends at its first difference: what it did not come to was not compared.
    done += here
  }
  const verdicts = `${atEdge} at the edge of a timer, ${different} different`
  console.log(`${done} random steps of ${steps}: ${lists} lists, ${verdicts}`)
  return different > 0 ? 1 : 0
}

process.exitCode = await main().catch(usageInstead(USAGE))
