/** The well-known programs of the end-to-end tests, each with the one question it answers here. */
import assert from 'node:assert/strict'
import type { Host } from '../../support/namespace.js'
import type { DnsTask } from './dns-client.js'
import { programPath } from './paths.js'

const CURL_LIMIT_SEC = 5
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
  const text = await client.expect(['wrk', ...load, ...headers, url])
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
  /** Bytes to send, with iperf3's letters. */
  bytes?: string
  seconds?: number
  /** From the real server to the client. */
  reverse?: boolean
}

/** Bulk TCP; resolves to what arrived, in bytes and bits per second. */
export async function iperf(
  client: Host,
  address: string,
  { bytes, seconds, reverse }: IperfOptions,
): Promise<{ bytes: number; bitsPerSec: number }> {
  const amount = seconds === undefined ? ['-n', bytes ?? '32M'] : ['-t', String(seconds)]
  const direction = reverse === true ? ['-R'] : []
  const target = ['-c', address, '-p', String(IPERF_PORT), '--connect-timeout', '3000']
  const text = await client.expect(['iperf3', '-J', ...target, ...amount, ...direction])
  const report = JSON.parse(text) as {
    end: { sum_received: { bytes: number; bits_per_second: number } }
  }
  const { bytes: arrived, bits_per_second: bitsPerSec } = report.end.sum_received
  return { bytes: arrived, bitsPerSec }
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
