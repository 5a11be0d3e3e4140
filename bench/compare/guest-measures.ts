/** What is measured of a director at work (guest-directors.ts): one number per trial and round. */
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import type { Host } from '../../test/support/namespace.js'
import { waitFor } from '../../test/support/wait.js'
import { CLIENT_ADDRESS, DIRECTOR_MAC, NEAR } from '../net/lab.js'
import { netTool } from '../net/tool.js'
import { ECHO_PORT, FLOOD_PORT, type Running, schedulerPort } from './guest-directors.js'
import { ANSWERING, BYPASS_ADDRESS, type Swallow, VIRTUAL } from './guest-lab.js'
import { idleSeconds, type Method } from './guest-plan.js'

/** How much of everything; all bounded. */
export interface Effort {
  readonly pings: number
  /** Frames, and SYNs, that are counted. */
  readonly frames: number
  readonly syns: number
  /** Of them per second: what either director carries without loss. */
  readonly pps: number
  readonly connections: number
}

export const FLOWS = 1024
/** Frames that come back to back; below what uvs's ring holds. */
export const BURST = 1024
export const PING_BYTES = 32
/** Sent before those that count: opens flows, and a just-in-time compiler sees the code run. */
const OPENING = 8192
const CLIENTS = '198.19.0.0'
const LOST_SHARE_MAX = 0.01
const LOAD_LIMIT_MS = 600_000

export type Kind = 'pps' | 'new'

/** Which frames, where to. */
interface Traffic {
  readonly to: string
  readonly kind: Kind
  readonly port: number
}

/** Frames of established flows. */
export function datagrams(method: Method): Traffic {
  return { to: VIRTUAL[method], kind: 'pps', port: FLOOD_PORT }
}

/** SYNs, each of another client, over eight destinations in direct routing. */
export function syns(scheduler: string): Traffic {
  return { to: VIRTUAL.dr, kind: 'new', port: schedulerPort(scheduler) }
}

/** Busy seconds of the machine per frame that gets to `end`. Throws when too many do not. */
export async function costPerFrame(
  client: Host,
  end: Swallow,
  traffic: Traffic,
  effort: Effort,
): Promise<number> {
  await pass(client, end, traffic, OPENING, effort.pps)
  const start = moment()
  const count = traffic.kind === 'pps' ? effort.frames : effort.syns
  const got = await pass(client, end, traffic, count, effort.pps)
  const finish = moment()
  if (got < count * (1 - LOST_SHARE_MAX)) throw new Error(`${got} of ${count} frames arrived`)
  const wall = finish.at - start.at
  return (wall * availableParallelism() - (finish.idle - start.idle)) / got
}

/** Sends frames and resolves to how many arrived, when no more come. */
async function pass(
  client: Host,
  end: Swallow,
  { to, kind, port }: Traffic,
  count: number,
  pps: number,
): Promise<number> {
  const before = end.received()
  const path = [`device=${NEAR}`, `to-mac=${DIRECTOR_MAC}`, `to=${to}`, `port=${port}`]
  const own =
    kind === 'pps'
      ? ['flood', `from=${CLIENT_ADDRESS}`, `flows=${FLOWS}`]
      : ['syn-flood', `from=${CLIENTS}`]
  const load = [`count=${count}`, `pps=${pps}`, `burst=${BURST}`]
  // Only when nobody else has work: on one processor a generator must not overrun the forwarder.
  await client.expect(['chrt', '-i', '0', netTool(), ...own, ...path, ...load], {
    limitMs: LOAD_LIMIT_MS,
  })
  let seen = -1
  await waitFor('the last frame', () => {
    const got = end.received() - before
    const still = got === seen || got >= count
    seen = got
    return still
  })
  return seen
}

/** Seconds of the clock and of idleness. */
function moment(): { at: number; idle: number } {
  return { at: performance.now() / 1000, idle: idleSeconds(readFileSync('/proc/stat', 'utf8')) }
}

/** Median round trip of small UDP requests, one at a time, microseconds; undefined: by cable. */
export async function roundTrip(
  { lab }: Running,
  method: Method | undefined,
  { pings }: Effort,
): Promise<number> {
  const address = method === undefined ? BYPASS_ADDRESS : ANSWERING[method]
  const to = method === undefined ? BYPASS_ADDRESS : VIRTUAL[method]
  const tool = netTool()
  const echo = lab.destination.spawn([tool, 'echo', `address=${address}`, `port=${ECHO_PORT}`])
  await echo.waitForOutput(/ready/)
  const words = [`to=${to}`, `port=${ECHO_PORT}`, `bytes=${PING_BYTES}`, `count=${pings}`]
  const text = await lab.client.expect([tool, 'ping', ...words])
  await echo.stop()
  return (JSON.parse(text) as { p50: number }).p50
}

/** Bytes that the memory of a director that has none yet grows by per connection. */
export async function memoryPerConnection(
  running: Running,
  end: Swallow,
  { connections, pps }: Effort,
): Promise<number> {
  const before = running.memoryBytes()
  const got = await pass(running.lab.client, end, syns('rr'), connections, pps)
  if (got < connections * (1 - LOST_SHARE_MAX)) throw new Error(`${got} of ${connections} came`)
  return (running.memoryBytes() - before) / got
}
