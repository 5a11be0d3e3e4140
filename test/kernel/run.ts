/**
 * Runs differential scenarios in a guest (bench/kernel/rig.ts) and hands over their outcomes as
 * they come. The guest's clock jumps over waiting, so a quarter of an hour passes in seconds.
 */
import { guestProblem, runWithIpvs } from '../../bench/kernel/rig.js'
import type { Outcome } from './verdict.js'
import { SCENARIOS } from './scenarios/index.js'

interface Common {
  readonly limitSec: number
  readonly onOutcome: (outcome: Outcome) => void
}

export interface Options extends Common {
  /** Which scenarios, by name. */
  readonly wanted: (name: string) => boolean
}

/** Resolves when the guest has ended well; rejects with what it said when it has not. */
export async function runScenarios({ wanted, ...common }: Options): Promise<void> {
  const numbers = [...SCENARIOS.keys()].filter((i) => wanted(SCENARIOS[i].name))
  await runInside(numbers.join(' '), common)
}

export interface RandomOptions extends Common {
  readonly seed: number
  /** Number of the list to begin with, from 1. */
  readonly firstList: number
  readonly steps: number
}

/** Random lists of operations (random.ts); ends early with the smallest that differs. */
export async function runRandomly(options: RandomOptions): Promise<void> {
  const { seed, firstList, steps, ...common } = options
  await runInside(`--random ${seed} ${firstList} ${steps}`, common)
}

async function runInside(words: string, { limitSec, onOutcome }: Common): Promise<void> {
  const command = `exec node dist/test/kernel/inside/main.js ${words}`
  let rest = ''
  const run = await runWithIpvs(command, {
    limitSec,
    clock: 'warped',
    onOutput(text, stream) {
      if (stream !== 'stdout') return
      const lines = (rest + text).split('\n')
      rest = lines.pop() as string
      for (const line of lines) onOutcome(JSON.parse(line) as Outcome)
    },
  })
  if (run.status !== 0) throw new Error(`the guest ended with ${run.status}\n${run.stderr}`)
}

/**
 * For `before`: skips the suite, and says so loudly, where no guest can be booted. Under CI a
 * skipped test counts as failed (scripts/run-mocha.mjs).
 */
export function requireGuest(context: Mocha.Context): void {
  const problem = guestProblem()
  if (problem === undefined) return
  console.error(`SKIPPED: uvs is not compared with the kernel's IPVS: ${problem}`)
  context.skip()
}
