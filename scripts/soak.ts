/**
 * `npm run soak -- [--minutes N] [--seed N]`: mixed load with churn through a director with two
 * workers, in network namespaces; then everything must add up. Prints the sums as a table; ends
 * with 1 when they do not or when a request was not answered.
 */
import process from 'node:process'
import { parseArgs } from 'node:util'
import { Capture } from '../test/e2e/support/capture.js'
import { Director } from '../test/e2e/support/director.js'
import { DEVICE, directorAddress, FAMILIES, Lab } from '../test/e2e/support/lab.js'
import { SeededRandom } from '../test/support/seeded-random.js'
import { waitFor } from '../test/support/wait.js'
import { Load, prepare, REALS } from './soak/load.js'
import {
  type Announcements,
  balance,
  type Leftovers,
  printBalance,
  readDirector,
  type Sum,
} from './soak/sums.js'

const MINUTES = 3
const MINUTES_MAX = 24 * 60
/** TIME_WAIT takes two minutes and cannot be set (spec 3.6). */
const EXPIRY_LIMIT_MS = 200_000

async function main(minutes: number, seed: number): Promise<readonly Sum[]> {
  say(`soak: ${minutes} minutes of load, seed ${seed}`)
  const lab = new Lab({ reals: REALS })
  const director = await Director.start(lab.director, { workers: 2 })
  try {
    await prepare(lab, director)
    const load = new Load(lab, director, new SeededRandom(seed))
    await load.open()
    // Warm: every thread has been restarted once.
    for (let i = 0; i < 2; i++) await load.cycle({ restart: true })
    await load.close()
    const before = await readDirector(director)
    const announcements = await watchAnnouncements(lab)
    const answered = await runLoad(lab, director, seed, minutes)
    const left = await emptied(director)
    const after = await readDirector(director)
    const sums = balance(before, after, left, await announcements())
    say(`${answered.toLocaleString('en-US')} requests, all answered`)
    say(printBalance(sums, before, after))
    return sums
  } catch (error) {
    say(director.lastWords)
    throw error
  } finally {
    await director.stop()
    await lab.close()
  }
}

async function runLoad(
  lab: Lab,
  director: Director,
  seed: number,
  minutes: number,
): Promise<number> {
  const load = new Load(lab, director, new SeededRandom(seed + 1))
  const endMs = performance.now() + minutes * 60_000
  await load.open()
  for (let cycle = 1; performance.now() < endMs; cycle++) {
    await load.cycle({ restart: cycle % 3 === 0 })
    say(`cycle ${cycle}: ${load.answered.toLocaleString('en-US')} requests answered`)
  }
  await load.close()
  return load.answered
}

/** What the director says about who has which address, counted on the other end of its cable. */
async function watchAnnouncements(lab: Lab): Promise<() => Promise<Announcements>> {
  const mac = lab.director.exec(['cat', `/sys/class/net/${DEVICE}/address`]).trim()
  const filter = `ether src ${mac} and (arp or (icmp6 and ip6[40] == 136))`
  const capture = await Capture.start(lab.router, 'director', filter, directorAddress(4))
  return async () => {
    const said = (await capture.stop()).filter((line) => {
      const address = /Reply (\S+) is-at|who-has (\S+) .*tell \2\b|tgt is ([^,\s]+)/.exec(line)
      const [, ...found] = address ?? []
      const name = found.find((one) => one !== undefined)
      // The host speaks for its own addresses itself.
      return name !== undefined && !OWN.includes(name) && !name.startsWith('fe80:')
    })
    const toAll = said.filter((line) => / > (ff:ff:|33:33:|Broadcast)/.test(line)).length
    return { answers: said.length - toAll, gratuitous: toAll }
  }
}

const OWN = FAMILIES.map(directorAddress)

/** Waits until the table is empty; resolves to what is left, also when that took too long. */
async function emptied(director: Director): Promise<Leftovers> {
  const look = async (): Promise<Leftovers> => {
    const { active, inactive } = await director.status()
    // The list may be long: it is asked for when nothing else is left.
    if (active + inactive > 0) return { listed: active + inactive, active, inactive }
    const text = await director.ipvsadm('-L', '-n', '-c')
    return {
      listed: text.split('\n').filter((line) => /\d:\d\d/.test(line)).length,
      active,
      inactive,
    }
  }
  let left = await look()
  try {
    await waitFor(
      'all connections to expire',
      async () => {
        left = await look()
        return left.listed + left.active + left.inactive === 0
      },
      EXPIRY_LIMIT_MS,
    )
  } catch (error) {
    say(error instanceof Error ? error.message : String(error))
  }
  return left
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

const { values } = parseArgs({
  options: { minutes: { type: 'string' }, seed: { type: 'string' } },
})
const minutes = Number(values.minutes ?? MINUTES)
const seed = Number(values.seed ?? 1)
if (!(minutes > 0 && minutes <= MINUTES_MAX) || !Number.isSafeInteger(seed)) {
  console.error(`soak: --minutes takes a number up to ${MINUTES_MAX}, --seed a whole number`)
  process.exit(2)
}
try {
  const sums = await main(minutes, seed)
  const wrong = sums.filter(({ good }) => !good)
  say(wrong.length === 0 ? 'soak: everything adds up' : `soak: ${wrong.length} sums are wrong`)
  process.exitCode = wrong.length === 0 ? 0 : 1
} catch (error) {
  say(`soak: failed: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
