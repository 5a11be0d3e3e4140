/**
 * The soak's load: short HTTP connections, connections held open, bulk TCP, DNS, over every method
 * and both families, while weights change, a spare real server comes and goes and workers die.
 * Every request must be answered: the load rejects at the first that is not.
 */
import { Director, planLines, type ServicePlan } from '../../test/e2e/support/director.js'
import {
  clientAddress,
  destinationAddress,
  endpoint,
  FAMILIES,
  type Family,
  Lab,
  type Method,
  METHODS,
  METHOD_WORDS,
  virtualAddress,
} from '../../test/e2e/support/lab.js'
import { Bulk, dns, IPERF_PORT, startDns, startIperf, wrk } from '../../test/e2e/support/tools.js'
import { HeldConnections, requests } from '../../test/e2e/support/web.js'
import type { SeededRandom } from '../../test/support/seeded-random.js'
import { waitFor } from '../../test/support/wait.js'

/** The last real server comes and goes. */
export const REALS = 4
const SPARE = REALS
const HELD = 4
const DRAIN_LIMIT_MS = 30_000
/** Idle, closing and UDP connections end after these, so that the end of the soak is near. */
const TIMEOUTS_SEC = ['60', '3', '3']
const STICKY = { family: 4, n: 9 } as const

interface Target {
  method: Method
  family: Family
  address: string
}

const TARGETS: readonly Target[] = METHODS.flatMap((method, n) =>
  FAMILIES.map((family) => ({ method, family, address: virtualAddress(family, n + 1) })),
)

// Bulk through a tunnel is cut into segments: one frame in, many out, and the sums would not be
// equal. iperf3 serves one client at a time, so each of these has a real server of its own.
const BULK: readonly [method: Method, family: Family][] = [
  ['nat', 4],
  ['fullnat', 6],
  ['dr', 4],
]

/** Makes programs and services; the director's timeouts become short. */
export async function prepare(lab: Lab, director: Director): Promise<void> {
  await lab.startWebServers()
  await Promise.all(lab.reals.map(startDns))
  for (const [i] of BULK.entries()) await startIperf(lab.reals[i])
  await director.ipvsadm('--set', ...TIMEOUTS_SEC)
  const weights = [2, 1, 1]
  const plans: ServicePlan[] = []
  for (const target of TARGETS) {
    await lab.acceptVirtual(target.method, target.address)
    plans.push({ ...target, scheduler: 'wlc', weights })
    plans.push({ ...target, port: 53, protocol: 'udp', scheduler: 'rr', weights })
  }
  const sticky = virtualAddress(STICKY.family, STICKY.n)
  plans.push({ method: 'nat', family: 4, address: sticky, options: ['-p', '5'] })
  await director.restore([...plans.flatMap(planLines), ...BULK.flatMap(bulkLines)])
}

function bulkLines([method, family]: (typeof BULK)[number], i: number): string[] {
  const service = `-t ${endpoint(addressOf(method, family), IPERF_PORT)}`
  const real = endpoint(destinationAddress(method, family, i + 1), IPERF_PORT)
  return [`-A ${service} -s rr`, `-a ${service} -r ${real} ${METHOD_WORDS[method].option}`]
}

function addressOf(method: Method, family: Family): string {
  return virtualAddress(family, METHODS.indexOf(method) + 1)
}

/** Everything under way at a time. */
export class Load {
  private readonly lab: Lab
  private readonly director: Director
  private readonly random: SeededRandom
  private readonly held: HeldConnections[] = []
  private readonly bulk: Bulk[] = []
  private cycles = 0
  /** Requests over HTTP and DNS that were answered. */
  answered = 0

  constructor(lab: Lab, director: Director, random: SeededRandom) {
    this.lab = lab
    this.director = director
    this.random = random
  }

  /** Opens what stays open during the whole soak. */
  async open(): Promise<void> {
    for (const { address } of TARGETS) {
      const task = { url: `http://${endpoint(address)}/`, requests: HELD }
      this.held.push((await HeldConnections.open(this.lab.client, task))[0])
    }
    for (const [method, family] of BULK) {
      this.bulk.push(new Bulk(this.lab.client, addressOf(method, family), { megabitsPerSec: 50 }))
    }
  }

  /** A few seconds of everything; changes of configuration and a worker's death in between. */
  async cycle(options: { restart: boolean }): Promise<void> {
    const target = TARGETS[this.cycles % TARGETS.length]
    const other = TARGETS[(this.cycles + 3) % TARGETS.length]
    const worker = this.cycles % 2
    this.cycles++
    const short = this.shortConnections(target)
    const changes = this.changes(other)
    await Promise.all([short, changes, this.heldConnections()])
    await this.datagrams()
    await this.stickyClients()
    if (options.restart) {
      const during = this.shortConnections(other)
      await Promise.all([during, this.director.killWorker(worker)])
    }
    await Promise.all(this.bulk.map((one) => one.flows(1)))
  }

  /** Ends everything. */
  async close(): Promise<void> {
    await Promise.all(this.bulk.map((one) => one.stop()))
    await Promise.all(this.held.map((one) => one.close()))
  }

  private async shortConnections({ address }: Target): Promise<void> {
    const load = { seconds: 2, connections: 8, close: true }
    this.answered += (await wrk(this.lab.client, `http://${endpoint(address)}/`, load)).requests
  }

  private async heldConnections(): Promise<void> {
    for (const one of this.held) {
      const { failures, answers } = await one.again()
      if (failures.length > 0) throw new Error(`a held connection failed: ${failures[0]}`)
      this.answered += answers.length
    }
  }

  private async datagrams(): Promise<void> {
    for (const { address } of TARGETS) {
      const task = { server: endpoint(address, 53), queries: 4 }
      this.answered += (await dns(this.lab.client, task)).length
    }
  }

  /** Three clients in turns; each must stay with one real server. */
  private async stickyClients(): Promise<void> {
    const from = [1, 2, 3].map((k) => clientAddress(STICKY.family, k))
    const url = `http://${endpoint(virtualAddress(STICKY.family, STICKY.n))}/`
    const { answers } = await requests(this.lab.client, { url, requests: 12, from })
    const moved = answers.findIndex((name, i) => name !== answers[i % from.length])
    if (moved >= 0) throw new Error(`client ${from[moved % from.length]} changed its real server`)
    this.answered += answers.length
  }

  /** Weights, and a spare real server that is added, drained and removed. */
  private async changes({ method, family, address }: Target): Promise<void> {
    const { option } = METHOD_WORDS[method]
    const service = endpoint(address)
    const real = (i: number): string => endpoint(destinationAddress(method, family, i))
    const changed = 1 + this.random.below(REALS - 1)
    const weight = String(1 + this.random.below(5))
    await this.director.ipvsadm('-e', '-t', service, '-r', real(changed), option, '-w', weight)
    await this.director.ipvsadm('-a', '-t', service, '-r', real(SPARE), option, '-w', '3')
    await this.shortConnections({ method, family, address })
    await this.director.ipvsadm('-e', '-t', service, '-r', real(SPARE), option, '-w', '0')
    await waitFor(
      `${real(SPARE)} to be drained`,
      async () => {
        const lines = await this.director.destinations('-t', service)
        return lines.find(({ destination }) => destination === real(SPARE))?.active === 0
      },
      DRAIN_LIMIT_MS,
    )
    await this.director.ipvsadm('-d', '-t', service, '-r', real(SPARE))
  }
}
