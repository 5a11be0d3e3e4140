/** The tables of ipvsadm -L, byte for byte (spec 10.7). Pure: views in, text out. */
import type { DaemonView } from '../api/views.js'
import { ipv4FromNumber } from '../model/address.js'
import type { Method } from '../model/destination.js'
import { hostNetmask, SERVICE_FLAGS } from '../model/service.js'
import type { ServiceId } from '../model/service.js'
import type { EndpointText } from './names.js'
import { abbreviated, exact } from './number-format.js'
import { schedulerFlagNames } from './rules.js'
import { compareDestinations, compareServices, mergeSort } from './sort.js'
import type { ShownConnection, ShownDestination, ShownService, Traffic } from './shown.js'

export type TableMode = 'plain' | 'stats' | 'rate' | 'thresholds' | 'persistent' | 'tunnel'

export interface TableOptions {
  readonly mode: TableMode
  readonly exact: boolean
  readonly sorted: boolean
  readonly text: EndpointText
}

const METHOD_TEXT: Readonly<Record<Method, string>> = {
  masquerade: 'Masq',
  local: 'Local',
  tunnel: 'Tunnel',
  direct: 'Route',
  fullnat: 'FullNat',
}

const left = (value: string | number, width: number) => String(value).padEnd(width)
const right = (value: string | number | bigint, width: number) => String(value).padStart(width)

/** First line of a complete listing; `tableSize` is the number of connection buckets. */
export function versionLine(tableSize: number): string {
  return `IP Virtual Server version 1.2.1 (size=${tableSize})\n`
}

const COLUMNS = left('Prot LocalAddress:Port', 33)
const REMOTE = '  -> RemoteAddress:Port\n'
const LOADS = 'ActiveConn InActConn'

const TITLES: Readonly<Record<TableMode, string>> = {
  stats: `${COLUMNS}${titleColumns('Conns InPkts OutPkts InBytes OutBytes')}\n${REMOTE}`,
  rate: `${COLUMNS}${titleColumns('CPS InPPS OutPPS InBPS OutBPS')}\n${REMOTE}`,
  thresholds: `${COLUMNS} Uthreshold Lthreshold ${LOADS} \n${REMOTE}`,
  persistent: `${COLUMNS} ${left('Weight', 9)} PersistConn ${LOADS} \n${REMOTE}`,
  tunnel:
    'Prot LocalAddress:Port Scheduler Flags\n' +
    `  -> RemoteAddress:Port           Forward TunnelInfo    Weight ${LOADS}\n`,
  plain:
    'Prot LocalAddress:Port Scheduler Flags\n' +
    `  -> RemoteAddress:Port           Forward Weight ${LOADS}\n`,
}

function titleColumns(names: string): string {
  return names
    .split(' ')
    .map((name) => ` ${right(name, 8)}`)
    .join('')
}

/** The title lines and all services with their destinations. */
export function formatTable(services: readonly ShownService[], options: TableOptions): string {
  const ordered = options.sorted ? mergeSort(services, compareServices) : services
  return TITLES[options.mode] + ordered.map((s) => formatService(s, options)).join('')
}

function formatService(service: ShownService, options: TableOptions): string {
  const destinations = options.sorted
    ? mergeSort(service.destinations, compareDestinations)
    : service.destinations
  const lines = destinations.map((d) => destinationLine(d, service.id.protocol, options))
  return serviceLine(service, options) + lines.join('')
}

function serviceLine(service: ShownService, options: TableOptions): string {
  const name = serviceName(service.id, options.text)
  if (options.mode === 'stats' || options.mode === 'rate') {
    const counters = options.mode === 'stats' ? service.stats : service.rates
    return `${left(name, 33)}${fiveNumbers(counters, options)}\n`
  }
  return `${name} ${service.scheduler}${serviceFlags(service)}\n`
}

function serviceName(id: ServiceId, text: EndpointText): string {
  const ipv6 = id.address.family === 6
  if (id.fwmark !== 0) return `FWM  ${id.fwmark | 0}${ipv6 ? ' IPv6' : ''}`
  const name = `${left(id.protocol.toUpperCase(), 4)} ${text(id.address, id.port, id.protocol)}`
  return ipv6 ? name : name.slice(0, 33)
}

function serviceFlags(service: ShownService): string {
  const { flags, id } = service
  const names = schedulerFlagNames(flags, service.scheduler)
  let text = names.length > 0 ? ` (${names.join(',')})` : ''
  if (flags & SERVICE_FLAGS.PERSISTENT) {
    text += ` persistent ${service.persistentSec}`
    if (service.netmask !== hostNetmask(id.address.family)) {
      text += ` mask ${netmaskText(id, service.netmask)}`
    }
    if (service.engine !== '') text += ` pe ${service.engine}`
  }
  if (flags & SERVICE_FLAGS.ONE_PACKET) text += ' ops'
  if (flags & SERVICE_FLAGS.SYNPROXY) text += ' synproxy'
  return service.proxyProtocol === undefined ? text : `${text} pp${service.proxyProtocol}`
}

/** Dotted for IPv4, prefix length for IPv6. */
export function netmaskText(id: ServiceId, netmask: number): string {
  return id.address.family === 4 ? ipv4FromNumber(netmask).text : String(netmask)
}

function fiveNumbers(traffic: Traffic, options: TableOptions): string {
  const format = options.exact ? exact : abbreviated
  const { connections, inPackets, outPackets, inBytes, outBytes } = traffic
  return [connections, inPackets, outPackets, inBytes, outBytes].map(format).join('')
}

function destinationLine(
  destination: ShownDestination,
  protocol: string,
  options: TableOptions,
): string {
  const name = options.text(destination.address, destination.port, protocol)
  const cut = destination.address.family === 6 ? name : name.slice(0, 28)
  return `  -> ${left(cut, 28)}${destinationColumns(destination, options)}\n`
}

function destinationColumns(d: ShownDestination, options: TableOptions): string {
  const loads = `${left(d.active, 10)} ${left(d.inactive, 10)}`
  switch (options.mode) {
    case 'stats':
      return fiveNumbers(d.stats, options)
    case 'rate': {
      const { connections, inPackets, outPackets, inBytes, outBytes } = d.rates
      const format = options.exact ? exact : abbreviated
      const packets = [connections, inPackets, outPackets].map((v) => ` ${right(v, 8)}`)
      return packets.join('') + format(inBytes) + format(outBytes)
    }
    case 'thresholds':
      return ` ${left(d.upperThreshold, 10)} ${left(d.lowerThreshold, 10)} ${loads}`
    case 'persistent':
      return ` ${left(d.weight, 9)} ${left(d.persistent, 11)} ${loads}`
    case 'tunnel': {
      const method = left(METHOD_TEXT[d.method], 7)
      return ` ${method} ${left(tunnelInfo(d), 13)} ${left(d.weight, 6)} ${loads}`
    }
    case 'plain':
      return ` ${left(METHOD_TEXT[d.method], 7)} ${left(d.weight, 6)} ${loads}`
  }
}

function tunnelInfo(destination: ShownDestination): string {
  if (destination.method !== 'tunnel') return 'n/a'
  const { type, port, checksum } = destination.tunnel
  if (type === 'ipip') return type
  const mark = { nocsum: '-c', csum: '+c', remcsum: 'r+c' }[checksum]
  return type === 'gue' ? `gue:${port}:${mark}` : `gre:${mark}`
}

/** The two title lines of -Lc. */
export function connectionTitle(withEngine: boolean): string {
  const ends = `${left('source', 18)} ${left('virtual', 18)}`
  const start = `IPVS connection entries\npro expire ${left('state', 11)} ${ends}`
  return withEngine
    ? `${start} ${left('destination', 18)} ${left('pe name', 16)} pe_data\n`
    : `${start} destination\n`
}

/** One line of -Lc. Minutes may have more than two digits. */
export function connectionLine(
  connection: ShownConnection,
  withEngine: boolean,
  text: EndpointText,
): string {
  const { client, virtual, destination, protocol } = connection
  const minutes = String(Math.floor(connection.expiresSec / 60)).padStart(2, '0')
  const expires = `${minutes}:${String(connection.expiresSec % 60).padStart(2, '0')}`
  // A mark template has no protocol of its own, so its ports have no names.
  const end = (e: typeof client) => text(e.address, e.port, protocol.toLowerCase())
  const start =
    `${left(protocol.toUpperCase(), 3)} ${left(expires, 6)} ${left(connection.state, 11)} ` +
    `${left(end(client), 18)} ${left(end(virtual), 18)} `
  if (!withEngine || connection.engine === undefined) return `${start}${end(destination)}\n`
  const engine = left(connection.engine, 18)
  return `${start}${left(end(destination), 16)} ${engine} ${connection.engineData ?? ''}\n`
}

/** The line of -L --timeout, seconds. */
export function timeoutLine(tcpSec: number, tcpFinSec: number, udpSec: number): string {
  return `Timeout (tcp tcpfin udp): ${tcpSec} ${tcpFinSec} ${udpSec}\n`
}

/** One line of -L --daemon. */
export function daemonLine(daemon: DaemonView): string {
  const { role, syncId, maxLength, group, port, ttl } = daemon
  const values = [
    `mcast=${daemon.interface}`,
    `syncid=${syncId}`,
    `maxlen=${maxLength}`,
    `group=${group}`,
    `port=${port}`,
    `ttl=${ttl}`,
  ]
  return `${role} sync daemon (${values.join(', ')})\n`
}

/** -G: the local addresses of FULLNAT services, in the columns DPVS uses. */
export function localAddressTable(services: readonly ShownService[], text: EndpointText): string {
  const title =
    `${left('VIP:VPORT', 20)} ${left('TOTAL', 8)} ${left('SNAT_IP', 20)} ` +
    `${left('CONFLICTS', 10)} ${left('CONNS', 10)}\n`
  const blocks = mergeSort(services, compareServices).map(({ id, localAddresses }) => {
    const name = id.fwmark !== 0 ? `FWM ${id.fwmark}` : text(id.address, id.port, id.protocol)
    const rows = localAddresses.map(
      (a) => `${' '.repeat(30)}${left(a.text, 20)} ${left(0, 10)} ${left(0, 10)}\n`,
    )
    return `${left(name, 20)} ${left(localAddresses.length, 8)}\n${rows.join('')}`
  })
  return title + blocks.join('')
}
