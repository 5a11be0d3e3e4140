/** The scenes of the demo: each makes one service, sends real HTTP through it, and judges. */
import {
  clientAddress,
  DEVICE,
  endpoint,
  type Family,
  type Lab,
  type Method,
  METHOD_WORDS,
  virtualAddress,
} from '../test/e2e/support/lab.js'
import type { Director } from '../test/e2e/support/director.js'
import { countAnswers, HeldConnections, requests, type WebResult } from '../test/e2e/support/web.js'
import { promiseByWeight, promiseLeastConnections, realName } from './promise.js'
import {
  bar,
  bold,
  dim,
  duration,
  green,
  heading,
  quantile,
  red,
  say,
  thousands,
} from './terminal.js'

/** One after the other: the latency of an unloaded director. */
const CALM_CYCLES = 10
/** Many at a time: packets per second. */
const BUSY_REQUESTS = 1200
const BUSY_PARALLEL = 16
const HELD = 60

/** A promise that was not kept; the message says which. */
export class DemoFailure extends Error {}

interface Scene {
  title: string
  /** Number of the virtual address. */
  n: number
  method: Method
  family: Family
  scheduler: string
  weights: readonly number[]
  options?: readonly string[]
}

export interface Stage {
  lab: Lab
  director: Director
}

const BALANCED: readonly Scene[] = [
  { title: 'NAT', n: 1, method: 'nat', family: 4, scheduler: 'wrr', weights: [3, 2, 1] },
  { title: 'DR', n: 2, method: 'dr', family: 4, scheduler: 'rr', weights: [1, 1, 1] },
  { title: 'TUN', n: 3, method: 'tun', family: 4, scheduler: 'wrr', weights: [1, 2, 3] },
  { title: 'FULLNAT', n: 4, method: 'fullnat', family: 4, scheduler: 'wrr', weights: [4, 1, 1] },
  { title: 'IPv6', n: 5, method: 'nat', family: 6, scheduler: 'wrr', weights: [1, 1, 2] },
]

const LEAST: Scene = {
  title: 'Weighted',
  n: 6,
  method: 'dr',
  family: 4,
  scheduler: 'wlc',
  weights: [1, 2, 3],
}

const STICKY: Scene = {
  title: 'Sticky',
  n: 7,
  method: 'nat',
  family: 4,
  scheduler: 'rr',
  weights: [1, 1, 1],
  options: ['-p', '300'],
}

/** Makes every service first, so that one table shows them all. */
export async function raiseCurtain({ lab, director }: Stage): Promise<void> {
  for (const scene of [...BALANCED, LEAST, STICKY]) {
    const { method, family, scheduler, weights, options = [] } = scene
    const address = virtualAddress(family, scene.n)
    await lab.acceptVirtual(method, address)
    await director.addService({ method, family, address, scheduler, weights, options })
  }
}

/** Plays every scene; throws DemoFailure at the first promise that is not kept. */
export async function play(stage: Stage): Promise<void> {
  for (const scene of BALANCED) await playBalanced(stage, scene)
  await playLeast(stage)
  await playSticky(stage)
}

/** One request per connection: first calm, then busy; the counts of both must be exact. */
async function playBalanced({ lab, director }: Stage, scene: Scene): Promise<void> {
  announce(scene)
  const url = urlOf(scene)
  const sum = scene.weights.reduce((total, weight) => total + weight, 0)
  const calm = await requests(lab.client, { url, requests: CALM_CYCLES * sum })
  const before = director.host.exec(['cat', COUNTER])
  const startMs = performance.now()
  const busy = await requests(lab.client, { url, requests: BUSY_REQUESTS, parallel: BUSY_PARALLEL })
  const seconds = (performance.now() - startMs) / 1000
  const packets = Number(director.host.exec(['cat', COUNTER])) - Number(before)
  const answers = [...calm.answers, ...busy.answers]
  compare(scene, answers, promiseByWeight(scene.weights, answers.length))
  say(`  ${latency(calm)}${dim(', ')}${bold(thousands(packets / seconds))} packets/s under load`)
}

// Packets the director's interface has received: exact at any moment, unlike its statistics.
const COUNTER = `/sys/class/net/${DEVICE}/statistics/rx_packets`

/** Connections that stay open, so that the least-connection rule decides every pick. */
async function playLeast({ lab }: Stage): Promise<void> {
  announce(LEAST, `, ${HELD} connections held open`)
  const task = { url: urlOf(LEAST), requests: HELD }
  const [held, opened] = await HeldConnections.open(lab.client, task)
  compare(LEAST, opened.answers, promiseLeastConnections(LEAST.weights, HELD))
  const again = await held.again()
  await held.close()
  if (again.failures.length > 0) throw new DemoFailure(again.failures[0])
  if (again.answers.join() !== opened.answers.join()) {
    throw new DemoFailure('a held connection was answered by another real server than before')
  }
  say(`  ${latency(opened)}`)
}

/** Three clients in turns: each stays with the real server it got first. */
async function playSticky({ lab }: Stage): Promise<void> {
  const clients = [1, 2, 3].map((k) => clientAddress(4, k))
  announce(STICKY, ', three clients in turns')
  const rounds = 20
  const task = { url: urlOf(STICKY), requests: clients.length * rounds, from: clients }
  const result = await requests(lab.client, task)
  clients.forEach((client, k) => {
    const answers = result.answers.filter((_, i) => i % clients.length === k)
    const promised = { [realName(k)]: rounds }
    report(client, answers, promised, rounds)
  })
  say(`  ${latency(result)}`)
}

const urlOf = (scene: Scene): string => `http://${endpoint(virtualAddress(scene.family, scene.n))}/`

function announce(scene: Scene, more = ''): void {
  const method = METHOD_WORDS[scene.method].title
  const weights = scene.weights.join(':')
  const where = endpoint(virtualAddress(scene.family, scene.n))
  const options = (scene.options ?? []).join(' ')
  const about = `${where} by ${method}, ${scene.scheduler} ${weights} ${options}`.trimEnd()
  heading(scene.title, `${about}${more}`)
}

function compare(scene: Scene, answers: string[], promised: Record<string, number>): void {
  for (const index of scene.weights.keys()) {
    const name = realName(index)
    const mine = answers.filter((answer) => answer === name)
    report(name, mine, { [name]: promised[name] ?? 0 }, answers.length)
  }
}

/** Prints one line and judges it: `answers` must be exactly what was promised. */
function report(
  label: string,
  answers: string[],
  promised: Record<string, number>,
  most: number,
): void {
  const counts = countAnswers({ answers, latenciesUs: [], failures: [] })
  const [[name, wanted]] = Object.entries(promised)
  const served = counts[name] ?? 0
  const kept = served === wanted && answers.length === served
  const numbers = `${String(served).padStart(5)} served by ${name}, ${wanted} promised`
  say(`  ${label.padEnd(10)} ${bar(served, most)} ${numbers} ${kept ? green('✔') : red('✘')}`)
  if (!kept) {
    throw new DemoFailure(`${label}: ${JSON.stringify(counts)} instead of ${name}: ${wanted}`)
  }
}

function latency({ latenciesUs }: WebResult): string {
  const [median, slow] = [0.5, 0.99].map((share) => duration(quantile(latenciesUs, share)))
  return `connect, request and answer: median ${bold(median)}, p99 ${bold(slow)}`
}
