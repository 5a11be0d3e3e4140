/**
 * The program that runs where the kernel has IPVS (guest.ts starts it): all rounds of the guest's
 * part. Takes a plan as JSON, says its rounds as JSON. A round starts either director once, in a
 * network of its own, every other time in the other order; memory comes last, once.
 */
import { type Running, startDirector } from './guest-directors.js'
import type { Swallow } from './guest-lab.js'
import {
  connectionsPerSecond,
  costPerFrame,
  datagrams,
  type Effort,
  memoryPerConnection,
  roundTrip,
  syns,
} from './guest-measures.js'
import { type DirectorName, DIRECTORS, type Method } from './guest-plan.js'

/** What guest.ts asks for. */
export interface InsidePlan {
  readonly trials: readonly string[]
  readonly rounds: number
  readonly effort: Effort
}

type Values = Record<string, number>

async function runRound(plan: InsidePlan, number: number): Promise<Values> {
  const values: Values = {}
  for (const name of number % 2 === 0 ? DIRECTORS : [...DIRECTORS].reverse()) {
    const running = await startDirector(name)
    try {
      await roundTrips(running, name, plan, values)
      // Before the director is loaded: uvs sees no frame that is dropped at its interface's peer.
      if (name === 'ipvs') await base(running, plan, values)
      const end = await running.lab.swallow(running.lab.destination)
      await costs(running, end, name, plan, values)
    } finally {
      await running.stop()
    }
    await newConnections(name, plan, values)
  }
  return values
}

/** Each scheduler by a director of its own: a table that others have filled is slower. */
async function newConnections(
  name: DirectorName,
  { trials, effort }: InsidePlan,
  values: Values,
): Promise<void> {
  for (const trial of trials.filter((one) => one.startsWith('new/'))) {
    const running = await startDirector(name)
    try {
      const { lab } = running
      const end = await lab.swallow(lab.destination)
      const load = syns(trial.slice('new/'.length))
      values[`${trial}/${name}`] = await connectionsPerSecond(lab.client, end, load, effort)
      said(trial, name)
    } finally {
      await running.stop()
    }
  }
}

/** Directors that have done nothing else. Once, because it takes long and comes out the same. */
async function runMemory({ effort }: InsidePlan): Promise<Values> {
  const values: Values = {}
  for (const name of DIRECTORS) {
    const running = await startDirector(name)
    try {
      const end = await running.lab.swallow(running.lab.destination)
      values[`memory/${name}`] = await memoryPerConnection(running, end, effort)
      said('memory', name)
    } finally {
      await running.stop()
    }
  }
  return values
}

async function roundTrips(
  running: Running,
  name: DirectorName,
  { trials, effort }: InsidePlan,
  values: Values,
): Promise<void> {
  const methods = trials.filter((trial) => trial.startsWith('rtt/'))
  if (methods.length === 0) return
  values[`rtt/base/${name}`] = await roundTrip(running, undefined, effort)
  for (const trial of methods) {
    values[`${trial}/${name}`] = await roundTrip(running, trial.split('/')[1] as Method, effort)
    said(trial, name)
  }
}

/** The same load, dropped where the director would receive it. */
async function base(running: Running, plan: InsidePlan, values: Values): Promise<void> {
  const { lab } = running
  if (!plan.trials.some((trial) => trial.startsWith('pps/'))) return
  const drop = await lab.swallow(lab.director)
  values['pps/base'] = await costPerFrame(lab.client, drop, datagrams('dr'), plan.effort)
  said('pps', 'base')
  await drop.stop()
}

async function costs(
  { lab }: Running,
  end: Swallow,
  name: DirectorName,
  { trials, effort }: InsidePlan,
  values: Values,
): Promise<void> {
  for (const trial of trials) {
    const [kind, what] = trial.split('/')
    if (kind !== 'pps') continue
    const traffic = datagrams(what as Method)
    values[`${trial}/${name}`] = await costPerFrame(lab.client, end, traffic, effort)
    said(trial, name)
  }
}

/** Progress, for whoever waits. */
function said(trial: string, name: string): void {
  process.stderr.write(`${trial} ${name}\n`)
}

const plan = JSON.parse(process.argv[2]) as InsidePlan
const rounds: Values[] = []
if (plan.trials.some((trial) => trial !== 'memory')) {
  for (let i = 0; i < plan.rounds; i++) rounds.push(await runRound(plan, i))
}
if (plan.trials.includes('memory')) rounds.push(await runMemory(plan))
console.log(JSON.stringify(rounds))
