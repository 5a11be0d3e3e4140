/**
 * The world inside the guest: two directors, alike but for what balances in them.
 *
 *            kcl ── cl0 [ uvs-k: IPVS of the kernel ] sv0 ── ksv
 *   tester                                                         tester
 *            ucl ── cl0 [ uvs-u: bin/uvs run        ] sv0 ── usv
 *
 *     uvs-k-client ── rc0 [ uvs-k ] rs0 ── uvs-k-server    programs on kernels of their own;
 *            └────────────────────────────────┘            answers do not pass the director
 *
 * The tester (this process, in the guest's first namespace) plays clients, gateway and real servers
 * with frames of its own. Devices of both directors have the same names, addresses and link
 * addresses, and all neighbours are permanent, so that frames can be compared as they are.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  CLIENT_NETS,
  CLIENT_SIDE,
  DIRECTOR_MAC,
  GATEWAY,
  REAL_HOSTS,
  REAL_SERVERS,
  realServerMac,
  resolveNames,
  SERVER_SIDE,
  TAKEN_MARK,
  VIRTUAL_NETS,
} from '../addresses.js'
import { GUE_PORT } from '../tunnel-text.js'

export const NAMESPACES = { kernel: 'uvs-k', uvs: 'uvs-u' } as const
export type SideName = keyof typeof NAMESPACES

/** The tester's end of a director's cable. */
export function testerDevice(side: SideName, towards: 'client' | 'server'): string {
  return `${side[0]}${towards === 'client' ? 'cl' : 'sv'}`
}

/** Settings of a host that is a director, and no limit on how often it may complain. */
const SETTINGS: readonly (readonly [name: string, value: number])[] = [
  ['net.ipv4.ip_forward', 1],
  ['net.ipv6.conf.all.forwarding', 1],
  ...['all', 'default', 'cl0', 'sv0', 'rc0', 'rs0'].flatMap((device): [string, number][] => [
    [`net.ipv4.conf.${device}.rp_filter`, 0],
    [`net.ipv4.conf.${device}.accept_local`, 1],
    [`net.ipv4.conf.${device}.send_redirects`, 0],
    [`net.ipv6.conf.${device}.accept_dad`, 0],
  ]),
  ['net.ipv4.icmp_ratelimit', 0],
  ['net.ipv6.icmp.ratelimit', 0],
  // Labels of packets that the host makes would be random (RFC 6437 section 3).
  ['net.ipv6.auto_flowlabels', 0],
]

/** Makes both directors' hosts; nothing balances yet. */
export function buildWorld(): void {
  // Its thread wakes ten times per second, and every wake-up keeps the clock from jumping.
  spawnSync('modprobe', ['-r', 'pktgen'])
  for (const side of ['kernel', 'uvs'] as const) {
    const namespace = NAMESPACES[side]
    execFileSync('ip', ['netns', 'add', namespace])
    ip(
      [],
      ['client', 'server'].map((towards) => cable(side, towards as 'client' | 'server')),
    )
    for (const towards of ['client', 'server'] as const) {
      const device = testerDevice(side, towards)
      ip([], [`link set ${device} addrgenmode none`, `link set ${device} up`])
    }
    buildRealHosts(namespace)
    ip(['-n', namespace], hostLines())
    // The tester reads whole checksums: the kernel leaves those of ICMPv6 to the device.
    for (const device of ['cl0', 'sv0']) inside(namespace, ['ethtool', '-K', device, 'tx', 'off'])
    const text = SETTINGS.map(([name, value]) => `${name}=${value}`)
    inside(namespace, ['sysctl', '-q', '-w', ...text])
  }
}

/** Runs a program in a director's network namespace; throws with what it said when it fails. */
export function inside(namespace: string, command: readonly string[]): string {
  const words = [`--net=/run/netns/${namespace}`, ...command]
  return execFileSync('nsenter', words, { encoding: 'utf8', stdio: 'pipe' })
}

/**
 * Gives a director virtual IPv6 addresses on a device, or takes them away. The local route is
 * enough to receive; but only from an address of a device does IPv6 send an error about what it
 * received.
 */
export function holdAddresses6(
  side: SideName,
  what: 'add' | 'del',
  addresses: readonly string[],
): void {
  const options = what === 'add' ? ' nodad' : ''
  const lines = addresses.map((address) => `ip address ${what} ${address}/128 dev lo${options}`)
  inside(NAMESPACES[side], ['sh', '-c', lines.join(' && ')])
}

/** The namespace of a host with a kernel of its own. */
export function realHost(side: SideName, role: 'client' | 'server'): string {
  return `${NAMESPACES[side]}-${role}`
}

/** A client and a real server with kernels of their own; between them a way around the director. */
function buildRealHosts(director: string): void {
  const [client, server] = [`${director}-client`, `${director}-server`]
  for (const host of [client, server]) execFileSync('ip', ['netns', 'add', host])
  const veth = (a: string, inA: string, b: string, inB: string) =>
    `link add ${a} netns ${inA} type veth peer name ${b} netns ${inB}`
  ip(
    [],
    [
      veth('rc0', director, 'eth0', client),
      veth('rs0', director, 'eth0', server),
      veth('back0', client, 'back0', server),
    ],
  )
  const { client: clientAddress, server: serverAddress } = REAL_HOSTS
  const host = (address: string, back: string) => [
    ...['link set lo up', 'link set eth0 up', 'link set back0 up'],
    ...[`address add ${address}/24 dev eth0`, `address add ${back}/24 dev back0`],
  ]
  const route = `route add ${VIRTUAL_NETS[0]} via ${REAL_HOSTS.clientGateway}`
  ip(['-n', client], [...host(clientAddress, '198.18.6.1'), route])
  // What comes out of GUE is IPIP to the kernel, so tunl0 takes it.
  const tunnel = ['link set tunl0 up', 'link set gre0 up', `fou add port ${GUE_PORT} gue`]
  const back = 'route add default via 198.18.6.1'
  ip(['-n', server], [...host(serverAddress, '198.18.6.2'), ...tunnel, back])
  // Answers come another way than requests go, and requests come out of a tunnel.
  const loose = ['all', 'default', 'eth0', 'back0'].map((d) => `net.ipv4.conf.${d}.rp_filter=0`)
  inside(client, ['sysctl', '-q', '-w', ...loose])
  const ends = ['tunl0', 'gre0'].map((d) => `net.ipv4.conf.${d}.rp_filter=0`)
  inside(server, ['sysctl', '-q', '-w', ...loose, ...ends])
}

function cable(side: SideName, towards: 'client' | 'server'): string {
  const end = towards === 'client' ? 'cl0' : 'sv0'
  const peer = `peer name ${end} netns ${NAMESPACES[side]} address ${DIRECTOR_MAC[towards]}`
  return `link add ${testerDevice(side, towards)} type veth ${peer}`
}

function hostLines(): string[] {
  const servers = Array.from({ length: REAL_SERVERS }, (_, i) => i + 1)
  const neighbour = (address: string, mac: string, device: string) =>
    `neigh add ${address} lladdr ${mac} dev ${device} nud permanent`
  return [
    'link set lo up',
    'link set cl0 addrgenmode none',
    'link set sv0 addrgenmode none',
    'link set cl0 up',
    'link set sv0 up',
    'link set rc0 up',
    'link set rs0 up',
    `address add ${REAL_HOSTS.clientGateway}/24 dev rc0`,
    `address add ${REAL_HOSTS.serverGateway}/24 dev rs0`,
    `address add ${CLIENT_SIDE.address}/24 dev cl0`,
    `address add ${CLIENT_SIDE.address6}/64 dev cl0 nodad`,
    `address add ${SERVER_SIDE.address}/24 dev sv0`,
    `address add ${SERVER_SIDE.address6}/64 dev sv0 nodad`,
    neighbour(GATEWAY.address, GATEWAY.mac, 'cl0'),
    neighbour(GATEWAY.address6, GATEWAY.mac, 'cl0'),
    ...servers.flatMap((n) => [
      neighbour(resolveNames(`$R${n}`, 0), realServerMac(n), 'sv0'),
      neighbour(resolveNames(`$R${n}v6`, 0), realServerMac(n), 'sv0'),
    ]),
    `route add ${CLIENT_NETS[0]} via ${GATEWAY.address}`,
    `route add ${CLIENT_NETS[1]} via ${GATEWAY.address6}`,
    // Every virtual address is the director's own, as if it were on lo.
    ...VIRTUAL_NETS.map((net) => `route add local ${net} dev lo`),
    // And so is every address to a packet of this mark: how a transparent cache gets its packets.
    `rule add fwmark ${TAKEN_MARK} lookup ${TAKEN_MARK}`,
    `route add local default dev lo table ${TAKEN_MARK}`,
  ]
}

function ip(options: readonly string[], lines: readonly string[]): void {
  const input = `${lines.join('\n')}\n`
  execFileSync('ip', [...options, '-batch', '-'], { input, encoding: 'utf8', stdio: 'pipe' })
}
