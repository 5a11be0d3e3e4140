/** Everything about a host that uvs might have changed, as text that can be compared. */
import assert from 'node:assert/strict'
import type { Host } from '../../support/namespace.js'

// What the kernel keeps by itself (neighbours, statistics, the age of a route) is not in it.
const COMMANDS: readonly (readonly string[])[] = [
  ['ip', 'address', 'show'],
  ['ip', 'rule', 'show'],
  ['ip', '-6', 'rule', 'show'],
  ['ip', 'route', 'show', 'table', 'all'],
  ['ip', '-6', 'route', 'show', 'table', 'all'],
  ['ip', 'neigh', 'show', 'proxy'],
  ['nft', 'list', 'ruleset'],
  ['ss', '-H', '-lnptux'],
  ['sysctl', '-a', '--pattern', "'ip_forward$|forwarding$|rp_filter$|arp_|proxy_|redirects
]

/** One line per fact, each with the command it is from. */
export type HostState = readonly string[]

/** Takes it down; two of them are equal when nothing was left behind. */
export function hostState(host: Host, devices: readonly string[]): HostState {
  const perDevice = devices.flatMap((device) => [
    ['tc', 'qdisc', 'show', 'dev', device],
    ['tc', 'filter', 'show', 'dev', device, 'ingress'],
    ['tc', 'filter', 'show', 'dev', device, 'egress'],
    ['ip', '-d', 'link', 'show', 'dev', device],
  ])
  return [...COMMANDS, ...perDevice].flatMap((command) => {
    const words = command.join(' ')
    const text = host.exec(['sh', '-c', `${words} 2>&1 || true`]).replace(/ expires \d+sec/g, '')
    return text.split('\n').map((line) => `${words}: ${line.trim()}`)
  })
}

/** Asserts that a host is as it was; names what has come and what has gone. */
export function assertUnchanged(before: HostState, after: HostState): void {
  const come = after.filter((line) => !before.includes(line)).map((line) => `+ ${line}`)
  const gone = before.filter((line) => !after.includes(line)).map((line) => `- ${line}`)
  assert.deepEqual([...come, ...gone], [])
}
