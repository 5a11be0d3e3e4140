/** Everything about a host that uvs might have changed, as lines that can be compared. */
import assert from 'node:assert/strict'
import type { Host } from '../../support/namespace.js'

// What the kernel keeps by itself (neighbours, statistics, the age of a route) is not in it.
const COMMANDS: readonly string[] = [
  'ip address show',
  'ip rule show',
  'ip -6 rule show',
  'ip route show table all',
  'ip -6 route show table all',
  'ip neigh show proxy',
  'nft list ruleset',
  'ss -H -lntux',
  "sysctl -a --pattern 'ip_forward$|forwarding$|rp_filter$|arp_|proxy_|redirects$'",
]

const DEVICE_COMMANDS: readonly string[] = [
  'tc qdisc show dev',
  'tc filter show ingress dev',
  'tc filter show egress dev',
  'ip -d link show dev',
]

/** One line per fact; two of them are equal when nothing was left behind. */
export type HostState = string

/** Takes it down. */
export function hostState(host: Host, devices: readonly string[]): HostState {
  const perDevice = devices.flatMap((device) =>
    DEVICE_COMMANDS.map((words) => `${words} ${device}`),
  )
  const facts = [...COMMANDS, ...perDevice].flatMap((command) => {
    const text = host.exec(['sh', '-c', `${command} 2>&1 || true`]).replace(/ expires \d+sec/g, '')
    return text.split('\n').map((line) => `${command}: ${line.trim()}`)
  })
  return facts.join('\n')
}

/** Asserts that a host is as it was; names what has come and what has gone. */
export function assertUnchanged(before: HostState, after: HostState): void {
  const [old, now] = [before, after].map((text) => text.split('\n'))
  const come = now.filter((line) => !old.includes(line)).map((line) => `+ ${line}`)
  const gone = old.filter((line) => !now.includes(line)).map((line) => `- ${line}`)
  assert.deepEqual([...come, ...gone], [])
}
