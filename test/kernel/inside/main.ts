/**
 * The program inside the guest: makes the world, runs scenarios on both directors, prints one line
 * of JSON per scenario (verdict.ts Outcome).
 *
 *   node dist/test/kernel/inside/main.js [NUMBER...]     numbers of scenarios; all unless given
 *   node dist/test/kernel/inside/main.js --random SEED LIST STEPS
 */
import { scenario } from '../language.js'
import { SCENARIOS } from '../scenarios/index.js'
import { outcomeOf } from './outcome.js'
import { runRandom } from './random.js'
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

async function main(words: readonly string[]): Promise<void> {
  buildWorld()
  const uvs = await UvsSide.start()
  const kernel = new KernelSide()
  const pair = { kernel, uvs }
  try {
    await runScenario(WARM_UP, WARM_UP_INDEX, pair)
    if (words[0] === '--random') {
      const [seed, firstList, steps] = words.slice(1).map(Number)
      await runRandom({ seed, firstList, steps }, pair)
    } else {
      await runNumbers(words.map(Number), pair)
    }
  } catch (error) {
    console.error(uvs.log)
    throw error
  } finally {
    await kernel.stop()
    await uvs.stop()
  }
}

async function runNumbers(numbers: readonly number[], pair: Pair): Promise<void> {
  for (const index of numbers.length > 0 ? numbers : SCENARIOS.keys()) {
    console.log(JSON.stringify(await outcomeOf(SCENARIOS[index], index, pair)))
  }
}

await main(process.argv.slice(2))
