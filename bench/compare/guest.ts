/**
 * The guest's part of `npm run bench -- compare`: uvs beside the real IPVS of a kernel, in turn.
 * Where this machine's kernel has none, in guests (kernel/rig.ts), one for each kind of figure:
 * what packets and memory cost, on a clock that counts instructions on one processor (a CPU-second
 * there is half a billion of them, however busy the machine is meanwhile, and there are no caches
 * to miss); what is a matter of time, on the real clock with two processors. guest-plan.ts says
 * what the figures are.
 */
import { fileURLToPath } from 'node:url'
import { type GuestClock, hostHasIpvs, type KernelRun, runWithIpvs } from '../kernel/rig.js'
import { netTool } from '../net/tool.js'
import type { Figure } from '../report.js'
import { BURST, type Effort, FLOWS, PING_BYTES } from './guest-measures.js'
import { clockOf, figuresOf, neededTrials, plannedFigures, type Round } from './guest-plan.js'
import type { InsidePlan } from './inside.js'

const FULL: Effort = {
  pings: 1000,
  frames: 1 << 16,
  pps: 20_000,
  connections: 500_000,
  millis: 1500,
}
const QUICK: Effort = { ...FULL, pings: 300, frames: 1 << 14, connections: 50_000 }

/** A kernel on its own processors forwards about twenty times as much. */
const NATIVE = 16

/** Whole run, wall seconds: what a machine that is busy with other things needs. */
const LIMIT_SEC = 1800

/** The figures with `only` in their names; nothing is booted when there are none. Needs root. */
export async function runGuest(options: {
  readonly quick: boolean
  readonly only: string
  readonly rounds: number
}): Promise<Figure[]> {
  const planned = plannedFigures(options.only)
  if (planned.length === 0) return []
  netTool() // compiled before the guest looks at the file
  const native = hostHasIpvs()
  const effort = scaled(options.quick ? QUICK : FULL, native ? NATIVE : 1)
  const figures: Figure[] = []
  for (const clock of ['warped', 'real'] as const) {
    const ours = planned.filter(({ trial }) => clockOf(trial) === clock)
    if (ours.length === 0) continue
    const plan: InsidePlan = { trials: neededTrials(ours), rounds: options.rounds, effort }
    const run = await runPlan(plan, native ? 'real' : clock)
    const rounds = JSON.parse(run.stdout) as Round[]
    figures.push(...figuresOf(ours, rounds, (kind) => paramsOf(kind, effort, run)))
  }
  return figures
}

async function runPlan(plan: InsidePlan, clock: GuestClock): Promise<KernelRun> {
  const program = fileURLToPath(new URL('./inside.js', import.meta.url))
  const run = await runWithIpvs(`'${process.execPath}' '${program}' '${JSON.stringify(plan)}'`, {
    limitSec: LIMIT_SEC,
    clock,
    onOutput: (text, stream) => void (stream === 'stderr' && process.stderr.write(text)),
  })
  if (run.status !== 0) throw new Error(`the comparison with IPVS failed\n${run.stderr}`)
  return run
}

function scaled(effort: Effort, by: number): Effort {
  return { ...effort, frames: effort.frames * by, pps: effort.pps * by }
}

function paramsOf(kind: string, effort: Effort, run: KernelRun): Figure['params'] {
  const where = { kernel: run.kernel, guest: run.guest }
  switch (kind) {
    case 'pps':
      return { ...where, flows: FLOWS, frameBytes: 60, frames: effort.frames, burst: BURST }
    case 'new':
      return { ...where, destinations: 8, millis: effort.millis }
    case 'rtt':
      return { ...where, bytes: PING_BYTES, requests: effort.pings }
    default:
      return { ...where, connections: effort.connections, uvs: 'growth of RSS', ipvs: 'slabs' }
  }
}
