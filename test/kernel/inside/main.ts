/**
 * The program inside the guest: makes the world, runs scenarios on both directors, prints one line
 * of JSON per scenario (verdict.ts Outcome).
 *
 *   node dist/test/kernel/inside/main.js [NUMBER...]     numbers of scenarios; all unless given
 */
import { compare, line } from '../compare.js'
import { type Scenario, scenario, stepText } from '../language.js'
import { SCENARIOS } from '../scenarios/index.js'
import type { Outcome } from '../verdict.js'
import { type Pair, runScenario } from './run-scenario.js'
import { KernelSide, UvsSide } from './side.js'
import { buildWorld } from './world.js'

/**
 * Carried out first and not compared: code is loaded and compiled, so that the clock does not jump
 * over the start of something while the guest waits for a file.
 */
const WARM_UP = scenario('warm-up', (s) => {
  for (const family of ['', 'v6'] as const) {
    const [virtual, real] = [`$V1${family}`, `$R1${family}`].map((name) =>
      family === '' ? name : `[${name}]`,
    )
    s.service(`-t ${virtual}:80 -s rr -p 1`, `-r ${real}:80 -m`)
    const c = s.tcp(`${family === '' ? '$C1' : '[$C1v6]'}:40000`, `${virtual}:80`)
    c.open()
    c.close()
  }
  s.list()
  s.connections()
  s.ipvsadm('-L -n --stats')
})
const WARM_UP_INDEX = 255

async function outcomeOf(one: Scenario, index: number, pair: Pair): Promise<Outcome> {
  const started = performance.now()
  const spent = () => (performance.now() - started) / 1000
  try {
    const { kernel, uvs } = await runScenario(one, index, pair)
    const titles = one.steps.map(stepText)
    const course = titles.map((title, step) => ({ title, seen: kernel[step].map(line) }))
    const differences = compare(titles, kernel, uvs)
    return { name: one.name, differences, guestSec: spent(), kernel: course }
  } catch (error) {
    const failure = error instanceof Error ? (error.stack ?? error.message) : String(error)
    return { name: one.name, differences: [], failure, guestSec: spent(), kernel: [] }
  }
}

async function main(numbers: readonly number[]): Promise<void> {
  buildWorld()
  const uvs = await UvsSide.start()
  const kernel = new KernelSide()
  const pair = { kernel, uvs }
  try {
    await runScenario(WARM_UP, WARM_UP_INDEX, pair)
    for (const index of numbers.length > 0 ? numbers : SCENARIOS.keys()) {
      const outcome = await outcomeOf(SCENARIOS[index], index, pair)
      console.log(JSON.stringify(outcome))
    }
  } catch (error) {
    console.error(uvs.log)
    throw error
  } finally {
    await kernel.stop()
    await uvs.stop()
  }
}

await main(process.argv.slice(2).map(Number))
