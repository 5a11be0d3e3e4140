/** Everything about a host that uvs might have changed, as text that can be compared. */
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
  ['sysctl', '-a', '--pattern', 'ip_forward$|forwarding$|rp_filter$|arp_|proxy_|send_redirects$'],
]

/** Takes it down; two of them are equal when nothing was left behind. */
export function hostState(host: Host, devices: readonly string[]): string {
  const perDevice = devices.flatMap((device) => [
    ['tc', 'qdisc', 'show', 'dev', device],
    ['tc', 'filter', 'show', 'dev', device, 'ingress'],
    ['tc', 'filter', 'show', 'dev', device, 'egress'],
    ['ip', '-d', 'link', 'show', 'dev', device],
  ])
  const parts = [...COMMANDS, ...perDevice].map((command) => {
    const text = host.exec(['sh', '-c', `${command.join(' ')} 2>&1 || true`])
    return `# ${command.join(' ')}\n${text.replace(/ expires \d+sec/g, '')}`
  })
  return parts.join('\n')
}
