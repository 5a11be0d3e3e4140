/** What is measured of a contender on the host, and the processor time that it takes. */
import { readFileSync } from 'node:fs'
import { ECHO_PORT, type Running } from '../net/contenders.js'
import {
  type Around,
  bulkLoad,
  bulkReceived,
  cpuSeconds,
  requestsCounted,
  type Values,
  WEB_CONNECTIONS,
  webLoad,
} from '../net/measures.js'
import { netTool } from '../net/tool.js'
import type { MeasureName } from './plan.js'

/** Seconds of each load. */
export interface Effort {
  readonly seconds: number
}

export const FULL: Effort = { seconds: 4 }
export const QUICK: Effort = { seconds: 1 }

/** A load that every contender carries without being busy. */
export const PACED_RATE = 4000 // requests/s
export const PACED_CONNECTIONS = 32
export const PACED_BYTES = 64

export { WEB_CONNECTIONS }

/** USER_HZ, the unit of /proc/stat: 100 on every architecture this builds for. */
const TICKS_PER_SEC = 100

type Measure = (running: Running, effort: Effort) => Promise<Values>

/** By their names; the ends of the figures are those of plan.ts. */
export const RUN: Readonly<Record<MeasureName, Measure>> = { rtt, bulk, cps }

/** Small requests at a fixed rate over kept TCP connections: median and p99, microseconds. */
async function rtt({ lab, service, target }: Running, { seconds }: Effort): Promise<Values> {
  const tool = netTool()
  const own = [`address=${service}`, `port=${ECHO_PORT}`]
  const echo = lab.destination.spawn([tool, 'tcp-echo', ...own])
  await echo.waitForOutput(/ready/)
  const path = [`to=${target}`, `port=${ECHO_PORT}`, `connections=${PACED_CONNECTIONS}`]
  const load = [`bytes=${PACED_BYTES}`, `rate=${PACED_RATE}`, `millis=${seconds * 1000}`]
  const text = await lab.client.expect([tool, 'paced', ...path, ...load])
  await echo.stop()
  const { p50, p99 } = JSON.parse(text) as { p50: number; p99: number }
  return new Map([
    ['rtt', p50],
    ['rtt-p99', p99],
  ])
}

/** One bulk TCP stream: bytes/s, and processor seconds per 10^9 bytes. */
async function bulk(running: Running, { seconds }: Effort): Promise<Values> {
  const clock = new CpuClock(running)
  const text = await bulkLoad(running, seconds, clock.around)
  const { bytes, bytesPerSec } = bulkReceived(text)
  return new Map([['bulk', bytesPerSec], ...clock.per(bytes / 1e9, 'cpu-per-gb')])
}

/** HTTP with a new connection for each request: connections/s, and processor seconds per 1000. */
async function cps(running: Running, { seconds }: Effort): Promise<Values> {
  const clock = new CpuClock(running)
  const text = await webLoad(running, seconds, clock.around)
  const { requests, perSec } = requestsCounted(text)
  return new Map([['cps', perSec], ...clock.per(requests / 1000, 'cpu-per-kconn')])
}

/** Processor time during a load: the whole machine's, and the forwarder's where it is a program. */
class CpuClock {
  private readonly pid: number | undefined
  private machineSec = 0
  private ownSec = 0

  constructor({ forwarder }: Running) {
    this.pid = forwarder?.pid
  }

  readonly around: Around = async (load) => {
    const [machine, own] = [this.machine(), this.own()]
    const text = await load()
    this.machineSec = this.machine() - machine
    this.ownSec = this.own() - own
    return text
  }

  /** Seconds for each of `amount` units of work, by the ends of the figures. */
  per(amount: number, end: string): [string, number][] {
    const figures: [string, number][] = [[end, this.machineSec / amount]]
    if (this.pid !== undefined) figures.push([`own-${end}`, this.ownSec / amount])
    return figures
  }

  private machine(): number {
    return busySeconds(readFileSync('/proc/stat', 'utf8'))
  }

  private own(): number {
    return this.pid === undefined ? 0 : cpuSeconds(this.pid)
  }
}

/**
 * Seconds that all processors together have worked so far: proc_stat(5)'s first line without idle,
 * iowait and steal. `user` and `nice` contain the guests' time.
 */
export function busySeconds(stat: string): number {
  const words = /^cpu +([\d ]+)$/m.exec(stat)?.[1].split(' ').map(Number) ?? []
  if (words.length < 7) throw new Error('/proc/stat has no line for all processors')
  const [user, nice, system, , , irq, softirq] = words
  return (user + nice + system + irq + softirq) / TICKS_PER_SEC
}
