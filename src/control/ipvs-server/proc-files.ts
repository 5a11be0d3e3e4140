/**
 * The text of /proc/net/ip_vs* and of the files below /proc/sys/net/ipv4/vs, byte for byte (spec
 * 9.5; net/netfilter/ipvs/ip_vs_ctl.c and ip_vs_conn.c). Pure.
 */
import type { ConnectionView, ServiceView } from '../api/views.js'
import type { TrafficCounters } from '../dataplane-port.js'
import { addressValue, parseAddress } from '../model/address.js'
import type { Address } from '../model/address.js'
import type { Method } from '../model/destination.js'
import { SERVICE_FLAGS } from '../model/service.js'
import { SYSCTL_NAMES } from '../model/sysctls.js'
import type { Sysctls } from '../model/sysctls.js'

/** Persistence timeouts are shown in ticks of the kernel's clock; ours has CONFIG_HZ=1000. */
const TICKS_PER_SEC = 1000

const left = (value: string | number, width: number) => String(value).padEnd(width)
const right = (value: string | number, width: number) => String(value).padStart(width)
const hex = (value: number | bigint, width: number) =>
  value.toString(16).toUpperCase().padStart(width, '0')

/** %08X or %pI6, by the address's own family. */
function addressText(text: string): string {
  const address: Address | undefined = parseAddress(text)
  if (address === undefined) return text
  const digits = addressValue(address).toString(16)
  if (address.family === 4) return digits.toUpperCase().padStart(8, '0')
  return (digits.padStart(32, '0').match(/.{4}/g) ?? []).join(':')
}

const isIpv6 = (text: string) => text.includes(':')

/** `X8:X4` or `[V6]:X4`. */
function endpointText({ address, port }: { address: string; port: number }): string {
  const text = addressText(address)
  return `${isIpv6(address) ? `[${text}]` : text}:${hex(port, 4)}`
}

/** ip_vs_fwd_name; FULLNAT is a kind of masquerading to programs that do not know it. */
const METHOD_NAME: Readonly<Record<Method, string>> = {
  masquerade: 'Masq',
  fullnat: 'Masq',
  local: 'Local',
  tunnel: 'Tunnel',
  direct: 'Route',
}

/** The netmask column. The kernel turns an IPv6 prefix length round as if it were a mask. */
function netmaskText(service: ServiceView): string {
  if (!isIpv6(service.address)) return hex(service.netmask, 8)
  const bytes = new DataView(new ArrayBuffer(4))
  bytes.setUint32(0, service.netmask, true)
  return hex(bytes.getUint32(0), 8)
}

function serviceLine(service: ServiceView): string {
  const { flags, scheduler, fwmark, address, protocol, persistentSec } = service
  const ops = (flags & SERVICE_FLAGS.ONE_PACKET) !== 0 ? 'ops ' : ''
  const name = `${protocol.toUpperCase()}  ${endpointText(service)} ${scheduler}`
  const head =
    fwmark !== 0
      ? `FWM  ${hex(fwmark, 8)} ${scheduler} ${ops}`
      : `${name} ${isIpv6(address) ? '' : `${ops} `}`
  if ((flags & SERVICE_FLAGS.PERSISTENT) === 0) return `${head}\n`
  return `${head}persistent ${persistentSec * TICKS_PER_SEC} ${netmaskText(service)}\n`
}

/** /proc/net/ip_vs; services in kernel order. */
export function serviceFile(services: readonly ServiceView[], tableSize: number): string {
  const title =
    `IP Virtual Server version 1.2.1 (size=${tableSize})\n` +
    'Prot LocalAddress:Port Scheduler Flags\n' +
    '  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n'
  const blocks = services.map((service) => {
    const lines = service.destinations.map(
      (d) =>
        `  -> ${endpointText(d)}      ${left(METHOD_NAME[d.method], 7)} ${left(d.weight, 6)} ` +
        `${left(d.active, 10)} ${left(d.inactive, 10)}\n`,
    )
    return serviceLine(service) + lines.join('')
  })
  return title + blocks.join('')
}

const CONNECTION_COLUMNS = 'Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       '

/** First line of /proc/net/ip_vs_conn. */
export const CONNECTION_TITLE = `${CONNECTION_COLUMNS}Expires PEName PEData\n`

/** First line of /proc/net/ip_vs_conn_sync. */
export const SYNC_CONNECTION_TITLE = `${CONNECTION_COLUMNS}Origin Expires\n`

function connectionStart({ protocol, client, virtual, destination, state }: ConnectionView) {
  const ends = [client, virtual, destination].map(
    ({ address, port }) => `${addressText(address)} ${hex(port, 4)}`,
  )
  return `${left(protocol.toUpperCase(), 3)} ${ends.join(' ')} ${left(state, 11)} `
}

/** A line of /proc/net/ip_vs_conn. */
export function connectionLine(row: ConnectionView): string {
  const engine = row.engine === undefined ? '' : ` ${row.engine} ${row.engineData ?? ''}`
  return `${connectionStart(row)}${right(row.expiresSec, 7)}${engine}\n`
}

/** IP_VS_CONN_F_SYNC. */
const SYNCED = 0x20

/** A line of /proc/net/ip_vs_conn_sync. */
export function syncConnectionLine(row: ConnectionView): string {
  const origin = (row.flags & SYNCED) !== 0 ? 'SYNC' : 'LOCAL'
  return `${connectionStart(row)}${left(origin, 6)} ${right(row.expiresSec, 7)}\n`
}

/** Five columns of hexadecimal digits without leading zeros. */
function statsColumns(t: TrafficCounters): string {
  const narrow = [t.connections, t.inPackets, t.outPackets]
  const wide = [t.inBytes, t.outBytes]
  const cell = (width: number) => (value: bigint) => hex(value, 0).padStart(width)
  return [...narrow.map(cell(8)), ...wide.map(cell(16))].join(' ')
}

const TOTALS_TITLE = [
  '   Total Incoming Outgoing         Incoming         Outgoing\n',
  '   Conns  Packets  Packets            Bytes            Bytes\n',
] as const
const RATES_TITLE = ' Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n'

/** /proc/net/ip_vs_stats, from the sampled totals. */
export function statsFile(totals: TrafficCounters, rates: TrafficCounters): string {
  const head = TOTALS_TITLE.join('')
  return `${head}${statsColumns(totals)}\n\n${RATES_TITLE}${statsColumns(rates)}\n`
}

/**
 * /proc/net/ip_vs_stats_percpu. The workers of a director are no processors, so there is one line,
 * for all of them: `live` counts since the start and is not affected by zeroing.
 */
export function perCpuStatsFile(
  live: TrafficCounters,
  totals: TrafficCounters,
  rates: TrafficCounters,
): string {
  return (
    `    ${TOTALS_TITLE[0]}CPU ${TOTALS_TITLE[1]}` +
    `  0 ${statsColumns(live)}\n  ~ ${statsColumns(totals)}\n\n` +
    `    ${RATES_TITLE}    ${statsColumns(rates)}\n`
  )
}

/** /proc/net/ip_vs_app: helpers are no modules here, and their users are not counted. */
export const APPLICATION_FILE = 'prot port    usecnt name\n'

/** A file below /proc/sys/net/ipv4/vs; undefined when there is none of this name. */
export function sysctlFile(sysctls: Sysctls, name: string): string | undefined {
  const known = SYSCTL_NAMES.find((other) => other === name)
  if (known === undefined) return undefined
  const value: number | string | readonly number[] = sysctls[known]
  return `${typeof value === 'object' ? value.join('\t') : value}\n`
}
