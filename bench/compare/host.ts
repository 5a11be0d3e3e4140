/**
 * The host's part of `npm run bench -- compare`: uvs's NAT beside nftables, HAProxy, nginx and
 * routing. A round starts every contender once, in a process and a network of its own, and takes
 * all its measures; every other round goes backwards.
 */
import { availableParallelism } from 'node:os'
import { netTool } from '../net/tool.js'
import type { Figure, SuiteOptions } from '../report.js'
import { START } from './contenders.js'
import {
  FULL,
  PACED_BYTES,
  PACED_CONNECTIONS,
  PACED_RATE,
  QUICK,
  RUN,
  WEB_CONNECTIONS,
} from './measures.js'
import {
  CONTENDERS,
  type ContenderName,
  figuresOf,
  type MeasureName,
  MEASURES,
  neededTrials,
  plannedFigures,
} from './plan.js'

/** Runs it. Needs root; leaves nothing behind, also when a trial fails. */
export async function runHost({ quick, only, rounds: count }: SuiteOptions): Promise<Figure[]> {
  const planned = plannedFigures(only)
  if (planned.length === 0) return []
  if (process.getuid?.() !== 0) {
    const advice = 'sudo npm run bench -- compare'
    throw new Error(`bench compare makes network namespaces and needs root: ${advice}`)
  }
  netTool() // compiled before anything is measured
  const needed = neededTrials(planned)
  const effort = quick ? QUICK : FULL
  const rounds: Map<string, number>[] = []
  for (let i = 0; i < count; i++) {
    const round = new Map<string, number>()
    for (const name of i % 2 === 0 ? CONTENDERS : [...CONTENDERS].reverse()) {
      const measures = needed.get(name)
      if (measures !== undefined) await runContender(name, measures, effort, round)
    }
    rounds.push(round)
  }
  process.stderr.write('\n')
  return figuresOf(planned, rounds, (measure) => paramsOf(measure, effort.seconds))
}

async function runContender(
  name: ContenderName,
  measures: ReadonlySet<MeasureName>,
  effort: typeof FULL,
  round: Map<string, number>,
): Promise<void> {
  const running = await START[name].start()
  try {
    for (const measure of MEASURES.filter((one) => measures.has(one))) {
      const values = await RUN[measure](running, effort)
      for (const [end, value] of values) round.set(`${name}/${end}`, value)
      process.stderr.write('.')
    }
  } catch (error) {
    const log = running.forwarder?.stderr ?? ''
    throw new Error(`${name}: ${(error as Error).message}\n${log}`, { cause: error })
  } finally {
    await running.stop()
  }
}

function paramsOf(measure: MeasureName, seconds: number): Figure['params'] {
  const cpus = availableParallelism()
  switch (measure) {
    case 'rtt': {
      const load = { requestsPerSec: PACED_RATE, connections: PACED_CONNECTIONS }
      return { ...load, bytes: PACED_BYTES, seconds, cpus }
    }
    case 'cps':
      return { connections: WEB_CONNECTIONS, seconds, cpus }
    case 'bulk':
      return { streams: 1, seconds, cpus }
  }
}
