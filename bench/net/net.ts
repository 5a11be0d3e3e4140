/**
 * `npm run bench -- net`: the director beside a plain forwarder and the kernel's routing, all in
 * network namespaces of the same form (lab.ts). A round starts every contender once, in a process
 * and a network of its own, and takes all its measures; every other round goes backwards. Ratios
 * are formed within a round, so that a noisy minute harms both of their sides.
 */
import { availableParallelism } from 'node:os'
import { type Figure, figureOf, type SuiteOptions } from '../report.js'
import { type Contender, director, ipForward, plain } from './contenders.js'
import {
  bulk,
  cps,
  type Effort,
  FLOWS,
  FULL,
  type Measure,
  PING_BYTES,
  pps,
  QUICK,
  rtt,
  WEB_CONNECTIONS,
} from './measures.js'
import { FIGURES, ioKinds, type MeasureName, MEASURES, neededTrials, ratios } from './plan.js'
import { netTool } from './tool.js'

/** Neighbours in time where a target compares them. */
const CONTENDERS: readonly Contender[] = [
  plain,
  director('af_packet', 'dr'),
  director('af_packet', 'nat'),
  ipForward,
  director('af_packet', 'fullnat'),
  director('af_packet', 'tun'),
  director('tun', 'nat'),
  director('tun', 'fullnat'),
  director('tun', 'tun'),
]

const RUN: Readonly<Record<MeasureName, Measure>> = { rtt, cps, bulk, pps }

type Round = Map<string, number>

/** Runs the suite. Needs root; leaves nothing behind, also when a trial fails. */
export async function runNet(options: SuiteOptions): Promise<Figure[]> {
  if (process.getuid?.() !== 0) {
    throw new Error('bench net makes network namespaces and needs root: sudo npm run bench -- net')
  }
  netTool() // compiled before anything is measured
  const names = CONTENDERS.map(({ name }) => name)
  const needed = neededTrials(names, options.only)
  const effort = options.quick ? QUICK : FULL
  const rounds: Round[] = []
  for (let i = 0; i < options.rounds; i++) {
    const round: Round = new Map()
    for (const contender of i % 2 === 0 ? CONTENDERS : [...CONTENDERS].reverse()) {
      const measures = needed.get(contender.name)
      if (measures !== undefined) await runContender(contender, measures, effort, round)
    }
    rounds.push(round)
  }
  process.stderr.write('\n')
  return figures(names, rounds, effort).filter(({ name }) => name.includes(options.only))
}

async function runContender(
  contender: Contender,
  measures: ReadonlySet<MeasureName>,
  effort: Effort,
  round: Round,
): Promise<void> {
  const running = await contender.start()
  try {
    for (const measure of MEASURES.filter((name) => measures.has(name))) {
      const values = await RUN[measure](running, effort)
      for (const [end, value] of values) round.set(`net/${contender.name}/${end}`, value)
      process.stderr.write('.')
    }
  } catch (error) {
    const log = running.forwarder?.stderr ?? ''
    throw new Error(`${contender.name}: ${(error as Error).message}\n${log}`, { cause: error })
  } finally {
    await running.stop()
  }
}

function figures(names: readonly string[], rounds: readonly Round[], effort: Effort): Figure[] {
  const found: Figure[] = []
  const add = (name: string, unit: string, values: number[], params: Figure['params']): void => {
    if (values.length > 0) found.push(figureOf(name, unit, values, params))
  }
  const valuesOf = (name: string): number[] => rounds.flatMap((round) => round.get(name) ?? [])
  for (const name of names) {
    for (const measure of MEASURES) {
      for (const [end, unit] of Object.entries(FIGURES[measure])) {
        const params = paramsOf(measure, effort, valuesOf(`net/${name}/offered`))
        add(`net/${name}/${end}`, unit, valuesOf(`net/${name}/${end}`), params)
      }
    }
  }
  for (const io of ioKinds(names)) {
    const methods = names.filter((name) => name.startsWith(`${io}/`))
    const values = methods.flatMap((name) => valuesOf(`net/${name}/gc`))
    add(`net/${io}/gc`, 'collections', values, paramsOf('pps', effort, []))
  }
  for (const { name, over } of ratios(names)) {
    const values = rounds.flatMap((round) => {
      const [value, base] = over.map((part) => round.get(part))
      return value === undefined || base === undefined ? [] : value / base
    })
    add(name, 'ratio', values, {})
  }
  return found
}

function paramsOf(
  measure: MeasureName,
  effort: Effort,
  offered: readonly number[],
): Figure['params'] {
  const cpus = availableParallelism()
  switch (measure) {
    case 'rtt':
      return { bytes: PING_BYTES, requests: effort.pings, cpus }
    case 'cps':
      return { connections: WEB_CONNECTIONS, seconds: effort.webSec, cpus }
    case 'bulk':
      return { streams: 1, seconds: effort.bulkSec, cpus }
    case 'pps': {
      const params = { flows: FLOWS, frameBytes: 60, seconds: effort.floodMs / 1000, cpus }
      if (offered.length === 0) return params
      return { ...params, offered: Math.round(figureOf('', '', offered, {}).median) }
    }
  }
}
