/** What is measured of a contender at work (contenders.ts): one number per measure and round. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { BULK_PORT, ECHO_PORT, FLOOD_PORT, type Running, WEB_PORT } from './contenders.js'
import { CLIENT_ADDRESS, DIRECTOR_MAC, NEAR } from './lab.js'
import { netTool } from './tool.js'

/** How much of everything; all bounded. */
export interface Effort {
  readonly pings: number
  /** Seconds of HTTP, of bulk TCP: whole ones, as the programs take them. */
  readonly webSec: number
  readonly bulkSec: number
  readonly floodMs: number
}

export const FULL: Effort = { pings: 5000, webSec: 2, bulkSec: 2, floodMs: 2500 }
export const QUICK: Effort = { pings: 1000, webSec: 1, bulkSec: 1, floodMs: 500 }

export const FLOWS = 4096
export const WEB_CONNECTIONS = 64
export const PING_BYTES = 32

/**
 * Flood before the one that counts: opens the flows. Then a while longer, because a worker tells
 * of a garbage collection up to two turns (0.4 s) later.
 */
const OPENING_MS = 700

/** Share of requests that may fail before the figure is not worth having. */
const FAILED_SHARE_MAX = 0.001

/** The generator has the first processor for itself and the forwarder the last. */
const GENERATOR_CPU = 0
const FORWARDER_CPU = availableParallelism() - 1

/** Figures of one measure by the end of their names. */
export type Values = ReadonlyMap<string, number>

export type Measure = (running: Running, effort: Effort) => Promise<Values>

/** Small UDP requests through an idle contender, one at a time: average and p99, microseconds. */
export const rtt: Measure = async ({ lab, service, target }, { pings }) => {
  const tool = netTool()
  const own = [`address=${service}`, `port=${ECHO_PORT}`]
  const echo = lab.destination.spawn([tool, 'echo', ...own])
  await echo.waitForOutput(/ready/)
  const load = [`to=${target}`, `port=${ECHO_PORT}`, `bytes=${PING_BYTES}`, `count=${pings}`]
  const text = await lab.client.expect([tool, 'ping', ...load])
  await echo.stop()
  const { average, p99 } = JSON.parse(text) as { average: number; p99: number }
  return new Map([
    ['rtt', average],
    ['rtt-p99', p99],
  ])
}

/** HTTP with a new TCP connection for each request, connections/s. */
export const cps: Measure = async (running, { webSec }) => {
  const text = await webLoad(running, webSec)
  return new Map([['cps', requestsPerSec(text)]])
}

/** One bulk TCP stream from client to destination, bytes/s as received. */
export const bulk: Measure = async (running, { bulkSec }) => {
  const { bytesPerSec } = bulkReceived(await bulkLoad(running, bulkSec))
  return new Map([['bulk', bytesPerSec]])
}

/** Runs a load, and may look at clocks before and after: its servers start earlier, end later. */
export type Around = (load: () => Promise<string>) => Promise<string>

const alone: Around = (load) => load()

/** wrk's text after some seconds of requests that each have a connection of their own. */
export async function webLoad(
  { lab, target }: Running,
  seconds: number,
  around = alone,
): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'uvs-bench-'))
  const config = join(folder, 'nginx.conf')
  writeFileSync(config, nginxConfig(folder))
  const web = lab.destination.spawn(['nginx', '-p', folder, '-c', config, '-e', 'stderr'])
  try {
    await lab.destination.waitForTcp(WEB_PORT)
    const load = ['-t1', `-c${WEB_CONNECTIONS}`, `-d${seconds}s`, '-H', 'Connection: close']
    const command = ['wrk', ...load, `http://${target}:${WEB_PORT}/`]
    return await around(() => lab.client.expect(command))
  } finally {
    await web.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** iperf3's JSON after some seconds of one TCP stream. */
export async function bulkLoad(
  { lab, target }: Running,
  seconds: number,
  around = alone,
): Promise<string> {
  const port = ['-p', String(BULK_PORT)]
  const receiver = lab.destination.spawn(['iperf3', '-s', ...port])
  await lab.destination.waitForTcp(BULK_PORT)
  const load = ['-c', target, ...port, '-J', '-t', String(seconds), '--connect-timeout', '3000']
  const text = await around(() => lab.client.expect(['iperf3', ...load]))
  await receiver.stop()
  return text
}

/** What iperf3's receiver counted. */
export function bulkReceived(text: string): { bytes: number; bytesPerSec: number } {
  const report = JSON.parse(text) as {
    end: { sum_received: { bytes: number; bits_per_second: number } }
  }
  const { bytes, bits_per_second: bitsPerSec } = report.end.sum_received
  return { bytes, bytesPerSec: bitsPerSec / 8 }
}

/**
 * Minimum-size UDP of FLOWS established flows, more than can be forwarded: packets/s that reach the
 * destination, and the same per second of the forwarder's processor time, which other work on the
 * machine disturbs less. Where there are workers, their garbage collections meanwhile.
 */
export const pps: Measure = async (running, { floodMs }) => {
  const { lab, target, forwarder, collections } = running
  const tool = netTool()
  // The destination's stack would answer each frame with an ICMP error.
  const swallow = lab.destination.spawn([tool, 'swallow', `device=${NEAR}`])
  await swallow.waitForOutput(/ready/)
  // Frames made in the kernel enter through NAPI, which veth has with GRO only, as a network card
  // has it always. The same for every contender; UDP of this kind is not merged.
  lab.director.exec(['ethtool', '-K', NEAR, 'gro', 'on'])
  if (forwarder !== undefined) pin(forwarder.pid, FORWARDER_CPU)
  const flood = async (millis: number): Promise<{ made: number; seconds: number }> => {
    const path = [`device=${NEAR}`, `to-mac=${DIRECTOR_MAC}`, `from=${CLIENT_ADDRESS}`]
    const load = [`to=${target}`, `port=${FLOOD_PORT}`, `flows=${FLOWS}`, `millis=${millis}`]
    const command = ['taskset', '-c', String(GENERATOR_CPU), tool, 'flood', ...path, ...load]
    return JSON.parse(await lab.client.expect(command)) as { made: number; seconds: number }
  }
  await flood(OPENING_MS)
  const collectedBefore = await collections?.()
  const cpuBefore = forwarder === undefined ? 0 : cpuSeconds(forwarder.pid)
  const before = lab.received()
  const { made, seconds } = await flood(floodMs)
  const delivered = lab.received() - before
  const cpuAfter = forwarder === undefined ? 0 : cpuSeconds(forwarder.pid)
  const collectedAfter = await collections?.()
  await swallow.stop()
  const values = new Map([
    ['pps', delivered / seconds],
    ['offered', made / seconds],
  ])
  if (forwarder !== undefined) values.set('pps-per-cpu', delivered / (cpuAfter - cpuBefore))
  if (collectedBefore !== undefined && collectedAfter !== undefined) {
    values.set('gc', collectedAfter - collectedBefore)
  }
  return values
}

function pin(pid: number, cpu: number): void {
  execFileSync('taskset', ['-a', '-c', '-p', String(cpu), String(pid)], { stdio: 'pipe' })
}

/**
 * Processor time of all threads of a process so far. First field of schedstat, nanoseconds
 * (Documentation/scheduler/sched-stats.rst); it contains the receive work done in their stead.
 */
export function cpuSeconds(pid: number): number {
  const folder = `/proc/${pid}/task`
  const spent = readdirSync(folder).map((thread) =>
    Number(readFileSync(`${folder}/${thread}/schedstat`, 'utf8').split(' ')[0]),
  )
  return spent.reduce((sum, ns) => sum + ns, 0) / 1e9
}

/** Requests/s that wrk counted; throws when too many requests failed to be a figure. */
export function requestsPerSec(text: string): number {
  return requestsCounted(text).perSec
}

/** What wrk counted; throws as requestsPerSec does. */
export function requestsCounted(text: string): { requests: number; perSec: number } {
  const requests = Number(/(\d+) requests in/.exec(text)?.[1])
  const perSec = Number(/Requests\/sec: +([\d.]+)/.exec(text)?.[1])
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text)
  const refused = Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0)
  const failed = (errors?.slice(1).reduce((sum, n) => sum + Number(n), 0) ?? 0) + refused
  if (!(requests > 0) || failed > requests * FAILED_SHARE_MAX) {
    throw new Error(`wrk: ${failed} of ${requests} requests failed\n${text}`)
  }
  return { requests, perSec }
}

/** One process, nothing on disk but its own file, a constant answer. */
function nginxConfig(folder: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${folder}/${kind};`)
    .join(' ')
  return `
    daemon off; master_process off; pid ${folder}/nginx.pid; error_log stderr crit;
    events { worker_connections 4096; }
    http {
      access_log off; ${temporary}
      server { listen ${WEB_PORT} backlog=4096; location / { return 200 "ok"; } }
    }
  `
}
