/** The well-known programs of the end-to-end tests, each with the one question it answers here. */
import assert from 'node:assert/strict'
import type { Host, Program } from '../../support/namespace.js'
import { waitFor } from '../../support/wait.js'
import type { DnsTask } from './dns-client.js'
import { programPath } from './paths.js'

const CURL_LIMIT_SEC = 5
const WRK_LIMIT_MS = 15_000
const IPERF_LIMIT_MS = 15_000
// The server stops counting when the client says it has sent all: what is then still on its way is
// not in the figure, at most a receive window (6 MB) or two.
const IPERF_COUNTED = 0.4
export const IPERF_PORT = 5201

/** `curl` of a path; resolves to the body, rejects with curl's own words. */
export async function curl(client: Host, url: string, ...options: string[]): Promise<string> {
  const fixed = ['-sS', '--fail', '--noproxy', '*', '--max-time', String(CURL_LIMIT_SEC)]
  return client.expect(['curl', ...fixed, ...options, url])
}

/** What `wrk` counted. */
export interface WrkResult {
  requests: number
  perSec: number
}

/** HTTP load for a time; rejects when a single request failed. */
export async function wrk(
  client: Host,
  url: string,
  options: { seconds: number; connections: number; close?: boolean },
): Promise<WrkResult> {
  const headers = options.close === true ? ['-H', 'Connection: close'] : []
  const load = ['-t1', `-c${options.connections}`, `-d${options.seconds}s`]
  const text = await client.expect(['wrk', ...load, ...headers, url], { limitMs: WRK_LIMIT_MS })
  assert.doesNotMatch(text, /Socket errors|Non-2xx/, text)
  const requests = Number(/(\d+) requests in/.exec(text)?.[1])
  const perSec = Number(/Requests\/sec: +([\d.]+)/.exec(text)?.[1])
  assert.ok(requests > 0, text)
  return { requests, perSec }
}

/** Starts an iperf3 server for any number of tests. */
export async function startIperf(real: Host): Promise<void> {
  real.spawn(['iperf3', '-s', '-p', String(IPERF_PORT), '--forceflush'])
  await real.waitForTcp(IPERF_PORT)
}

export interface IperfOptions {
  /** How much to send, 24 unless given. */
  megabytes?: number
  /** For how long to send instead. */
  seconds?: number
  /** From the real server to the client. */
  reverse?: boolean
}

interface IperfSum {
  bytes: number
  bits_per_second: number
}

/** Bulk TCP; rejects unless everything arrived; resolves to the bits per second that arrived. */
export async function iperf(
  client: Host,
  address: string,
  { megabytes = 24, seconds, reverse }: IperfOptions,
): Promise<number> {
  const amount = seconds === undefined ? ['-n', `${megabytes}M`] : ['-t', String(seconds)]
  const direction = reverse === true ? ['-R'] : []
  const target = ['-c', address, '-p', String(IPERF_PORT), '--connect-timeout', '3000']
  const command = ['iperf3', '-J', ...target, ...amount, ...direction]
  const text = await client.expect(command, { limitMs: IPERF_LIMIT_MS })
  const { end } = JSON.parse(text) as { end: Record<string, Partial<IperfSum> | undefined> }
  const { bytes = 0, bits_per_second: bitsPerSec = 0 } = end.sum_received ?? {}
  const wanted = seconds === undefined ? megabytes * 2 ** 20 * IPERF_COUNTED : 1
  assert.ok(bytes >= wanted, `${bytes} bytes arrived at ${address}`)
  return bitsPerSec
}

/** Bulk TCP that goes on until it is stopped. */
export class Bulk {
  private readonly program: Program

  constructor(client: Host, address: string, options: { megabitsPerSec?: number } = {}) {
    const rate = options.megabitsPerSec
    const bitrate = rate === undefined ? [] : ['-b', `${rate}M`]
    const fixed = ['-t', '86400', '-i', '0.2', '--forceflush', '--connect-timeout', '3000']
    this.program = client.spawn([
      'iperf3',
      '-c',
      address,
      '-p',
      String(IPERF_PORT),
      ...fixed,
      ...bitrate,
    ])
  }

  /** Waits until it has made progress in some more of iperf3's intervals of 0.2 s. */
  async flows(intervals = 2): Promise<void> {
    const enough = this.progress() + intervals
    await waitFor('bulk traffic to flow', () => {
      if (this.program.running) return this.progress() >= enough
      throw new Error(`iperf3 ended\n${this.program.stdout}${this.program.stderr}`)
    })
  }

  async stop(): Promise<void> {
    await this.program.stop()
  }

  private progress(): number {
    const rates = this.program.stdout.matchAll(/^\[ *\d+\].* ([\d.]+) \S?bits\/sec/gm)
    return [...rates].filter(([, rate]) => Number(rate) > 0).length
  }
}

/** Starts dnsmasq; `who.test TXT` is the real server's name. */
export async function startDns(real: Host): Promise<void> {
  const quiet = ['--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--pid-file=', '--user=root']
  real.spawn(['dnsmasq', '--keep-in-foreground', ...quiet, `--txt-record=who.test,${real.name}`])
  await real.waitForUdp(53)
}

/** Asks who answers, each time from a new port; resolves to the names in order. */
export async function dns(client: Host, task: DnsTask): Promise<string[]> {
  const command = [process.execPath, programPath('dns-client'), JSON.stringify(task)]
  return JSON.parse(await client.expect(command)) as string[]
}

/** How often each name occurs, by name. */
export function tally(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const name of [...names].sort()) counts[name] = (counts[name] ?? 0) + 1
  return counts
}

/** Sends one datagram to the discard port: for what it does to neighbours, or to be seen. */
export async function sendDatagram(host: Host, address: string, bytes: number): Promise<void> {
  await host.expect(['bash', '-c', `printf '%*s' ${bytes} '' > /dev/udp/${address}/9`])
}

/** Does a host answer at all? Asked by a connection to a port where nobody listens. */
export async function isAlive(from: Host, address: string): Promise<boolean> {
  const command = ['timeout', '2', 'bash', '-c', `: > /dev/tcp/${address}/7`]
  const { stderr } = await from.run(command)
  return stderr.includes('Connection refused')
}
