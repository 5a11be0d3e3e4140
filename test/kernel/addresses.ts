/**
 * Who is where in the world of the differential tests, and how scenarios name it.
 *
 *   clients ── gateway ── cl0 [ director ] sv0 ── real servers
 *              198.18.0.1      198.18.0.254 / 198.18.1.254      198.18.1.1..
 *
 * Every scenario has virtual addresses and clients of its own, so that what an earlier one left
 * behind cannot be mistaken for its own. Real servers are shared.
 *
 *   $V1..$V4      virtual addresses          $V1v6..   the same in IPv6
 *   $C1..$C250    clients                    $C1v6..
 *   $R1..$R30     real servers               $R1v6..
 *   $S            the real server that is a kernel of its own (realClients)
 *   $D            the director's own address on the side of the servers; $Dv6
 */
export const VIRTUALS = 4
export const CLIENTS = 250
export const REAL_SERVERS = 30
/** Scenarios that can have virtual addresses of their own; clients come again after 250. */
export const SCENARIOS_MAX = 8191

export const GATEWAY = { address: '198.18.0.1', address6: '2001:db8::1', mac: '02:00:00:00:00:01' }
export const CLIENT_SIDE = { address: '198.18.0.254', address6: '2001:db8::fe' }
export const SERVER_SIDE = { address: '198.18.1.254', address6: '2001:db8:1::fe' }
export const DIRECTOR_MAC = { client: '02:00:00:00:00:c0', server: '02:00:00:00:00:50' }

/** Hosts with a kernel of their own, and the director's addresses towards them (IPv4). */
export const REAL_HOSTS = {
  client: '198.18.4.2',
  clientGateway: '198.18.4.1',
  server: '198.18.5.2',
  serverGateway: '198.18.5.1',
} as const

export const CLIENT_NETS = ['198.19.0.0/16', '2001:db8:c::/48'] as const
export const VIRTUAL_NETS = ['198.18.128.0/17', '2001:db8:2::/48'] as const

/** What carries this mark is the director's, wherever it is addressed to (IPv4). */
export const TAKEN_MARK = 99

/** The link address of a real server, for both families. */
export function realServerMac(n: number): string {
  return `02:00:00:00:01:${hex(n).padStart(2, '0')}`
}

/** Replaces every `$NAME` of a text by the address it has in scenario number `index`. */
export function resolveNames(text: string, index: number): string {
  return text.replace(
    /\$([VCRSD])(\d*)(v6)?/g,
    (name, kind: string, digits: string, six?: string) =>
      addressOf(name, kind, Number(digits || '1'), six !== undefined, index),
  )
}

function addressOf(name: string, kind: string, n: number, six: boolean, index: number): string {
  const limit = { V: VIRTUALS, C: CLIENTS, R: REAL_SERVERS, S: 1, D: 1 }[kind] ?? 0
  if (n < 1 || n > limit) throw new RangeError(`${name}: there are ${kind}1 to ${kind}${limit}`)
  switch (kind) {
    case 'V': {
      const host = index * VIRTUALS + n
      return six ? `2001:db8:2::${hex(host)}` : `198.18.${128 + (host >> 8)}.${host & 255}`
    }
    case 'C':
      return six ? `2001:db8:c:${hex(index)}::${hex(n)}` : `198.19.${index % 256}.${n}`
    case 'R':
      return six ? `2001:db8:1::${hex(n)}` : `198.18.1.${n}`
    case 'S':
      return REAL_HOSTS.server
    default:
      return six ? SERVER_SIDE.address6 : SERVER_SIDE.address
  }
}

/** The scenario's virtual addresses, for telling its connections from others'. */
export function virtualAddresses(index: number): string[] {
  const numbers = Array.from({ length: VIRTUALS }, (_, i) => i + 1)
  return numbers.flatMap((n) => [`$V${n}`, `$V${n}v6`].map((name) => resolveNames(name, index)))
}

/** Link addresses by what they are called in reports. */
export function linkName(mac: string): string {
  if (mac === GATEWAY.mac) return 'gateway'
  if (mac === DIRECTOR_MAC.client || mac === DIRECTOR_MAC.server) return 'director'
  const server = /^02:00:00:00:01:([0-9a-f]{2})$/.exec(mac)
  return server === null ? mac : `R${Number.parseInt(server[1], 16)}`
}

function hex(n: number): string {
  return n.toString(16)
}
