/** The quick differential scenarios in one guest: a test for each. */
import { requireGuest, runScenarios } from './run.js'
import { QUICK, SCENARIOS } from './scenarios/index.js'
import { type Outcome, outcomeText, verdictOf } from './verdict.js'

/** Generous: a machine may have other things to do. Usual is a minute for all. */
const LIMIT_SEC = 600

interface Awaited {
  readonly promise: Promise<Outcome>
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (error: unknown) => void
}

describe('beside the kernel: quick scenarios', function () {
  this.timeout(LIMIT_SEC * 1000)
  const outcomes = new Map<string, Awaited>()

  before(function () {
    requireGuest(this)
    for (const name of QUICK) outcomes.set(name, awaited())
    const run = runScenarios({
      wanted: (name) => QUICK.has(name),
      limitSec: LIMIT_SEC,
      onOutcome: (outcome) => outcomes.get(outcome.name)?.resolve(outcome),
    })
    const failAll = (error: unknown) => outcomes.forEach(({ reject }) => reject(error))
    run.then(() => failAll(new Error('the guest ended before this scenario')), failAll)
  })

  for (const { name } of SCENARIOS.filter((one) => QUICK.has(one.name))) {
    it(name, async () => {
      const outcome = await outcomes.get(name)!.promise
      if (verdictOf(outcome) === 'different') throw new Error(outcomeText(outcome))
    })
  }
})

function awaited(): Awaited {
  let [resolve, reject]: [Awaited['resolve'], Awaited['reject']] = [
    () => undefined,
    () => undefined,
  ]
  const promise = new Promise<Outcome>((yes, no) => {
    resolve = yes
    reject = no
  })
  // Whoever awaits it sees the error; one that nobody got to must not end the process.
  promise.catch(() => undefined)
  return { promise, resolve, reject }
}
