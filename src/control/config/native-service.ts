/** The `services` part of our configuration file. Pure. */
import { ipv4ToNumber, parseAddress } from '../model/address.js'
import type { Address, Family } from '../model/address.js'
import { PROXY_PROTOCOLS } from '../model/fullnat.js'
import type { ProxyProtocol } from '../model/fullnat.js'
import { PLAIN_TUNNEL, TUNNEL_CHECKSUMS, TUNNEL_TYPES } from '../model/destination.js'
import type { DestinationId, DestinationOptions, Method, Tunnel } from '../model/destination.js'
import { ENGINES, hostNetmask, markServiceId, SERVICE_FLAGS } from '../model/service.js'
import type { Protocol, ServiceId, ServiceOptions } from '../model/service.js'
import type { Node } from './native-format.js'

export interface DesiredDestination {
  readonly id: DestinationId
  readonly options: DestinationOptions
}

export interface DesiredService {
  readonly id: ServiceId
  readonly options: ServiceOptions
  readonly localAddresses: readonly Address[]
  /** In the order of the file. */
  readonly destinations: readonly DesiredDestination[]
}

const SERVICE_KEYS = [
  'tcp',
  'udp',
  'sctp',
  'fwmark',
  'family',
  'scheduler',
  'flags',
  'persistent',
  'netmask',
  'pe',
  'one-packet',
  'synproxy',
  'proxy-protocol',
  'local-addresses',
  'destinations',
]

const FLAG_BITS: Readonly<Record<string, number>> = {
  'flag-1': SERVICE_FLAGS.SCHED1,
  'flag-2': SERVICE_FLAGS.SCHED2,
  'flag-3': SERVICE_FLAGS.SCHED3,
  fallback: SERVICE_FLAGS.SCHED1,
  port: SERVICE_FLAGS.SCHED2,
}

/** Short names that administrators use, next to the long ones. */
const METHOD_NAMES: Readonly<Record<string, Method>> = {
  masquerade: 'masquerade',
  nat: 'masquerade',
  tunnel: 'tunnel',
  tun: 'tunnel',
  direct: 'direct',
  dr: 'direct',
  fullnat: 'fullnat',
}

const FAMILIES = ['ipv4', 'ipv6'] as const

const PERSISTENT_MAX_SEC = 86400 * 31
const U16 = 0xffff
const I32_MAX = 0x7fffffff

/** One item of the list; reports mistakes through the node. */
export function decodeService(node: Node): DesiredService {
  node.keys(SERVICE_KEYS)
  const id = decodeId(node)
  const { family } = id.address
  const list = (key: string) => (node.has(key) ? node.child(key).items() : [])
  const persistent = node.has('persistent')
  const flags = list('flags').reduce((bits, flag) => bits | decodeFlag(flag), 0)
  const ops = node.has('one-packet') && node.child('one-packet').boolean()
  const synproxy = node.has('synproxy') && node.child('synproxy').boolean()
  if (id.fwmark === 0 && id.port === 0 && !persistent) {
    node.fail('needs a port, or persistent')
  }
  if (ops && id.fwmark === 0 && id.protocol !== 'udp') {
    node.child('one-packet').fail('is only for udp and fwmark services')
  }
  if (synproxy && id.fwmark === 0 && id.protocol !== 'tcp') {
    node.child('synproxy').fail('is only for tcp and fwmark services')
  }
  return {
    id,
    options: {
      scheduler: node.has('scheduler') ? node.child('scheduler').text() : 'wlc',
      flags:
        flags |
        (persistent ? SERVICE_FLAGS.PERSISTENT : 0) |
        (ops ? SERVICE_FLAGS.ONE_PACKET : 0) |
        (synproxy ? SERVICE_FLAGS.SYNPROXY : 0),
      persistentSec: persistent ? node.child('persistent').integer(1, PERSISTENT_MAX_SEC) : 0,
      netmask: node.has('netmask')
        ? decodeNetmask(node.child('netmask'), family)
        : hostNetmask(family),
      engine: node.has('pe') ? node.child('pe').choice(ENGINES) : '',
      // In YAML 1.1 `off` is false.
      proxyProtocol: node.has('proxy-protocol') ? decodeProxy(node.child('proxy-protocol')) : 'off',
    },
    localAddresses: list('local-addresses').map(decodeAddress),
    destinations: list('destinations').map((item) => decodeDestination(item, id)),
  }
}

function decodeProxy(node: Node): ProxyProtocol {
  return node.value === false ? 'off' : node.choice(PROXY_PROTOCOLS)
}

function decodeId(node: Node): ServiceId {
  const named = ['tcp', 'udp', 'sctp', 'fwmark'].filter((key) => node.has(key))
  if (named.length !== 1) node.fail('needs exactly one of tcp, udp, sctp, fwmark')
  const [key] = named
  if (key === 'fwmark') {
    const isV6 = node.has('family') && node.child('family').choice(FAMILIES) === 'ipv6'
    return markServiceId(node.child(key).integer(1, 0xffffffff), isV6 ? 6 : 4)
  }
  return { protocol: key as Protocol, ...decodeEndpoint(node.child(key), 0), fwmark: 0 }
}

/** `a.b.c.d:port`, `[v6]:port`, or an address alone. */
function decodeEndpoint(node: Node, defaultPort: number): DestinationId {
  const text = node.text()
  const alone = parseAddress(text)
  if (alone !== undefined) return { address: alone, port: defaultPort }
  const match = /^\[(.+)\]:(\d+)$/.exec(text) ?? /^([^:]+):(\d+)$/.exec(text)
  const address = match === null ? undefined : parseAddress(match[1])
  const port = Number(match?.[2])
  if (address === undefined || port > U16) return node.fail('must be ADDRESS:PORT')
  return { address, port }
}

function decodeAddress(node: Node): Address {
  return parseAddress(node.text()) ?? node.fail('must be an address')
}

function decodeFlag(node: Node): number {
  const name = node.text()
  if (Object.hasOwn(FLAG_BITS, name)) return FLAG_BITS[name]
  return node.fail(`must be one of ${Object.keys(FLAG_BITS).join(', ')}`)
}

function decodeNetmask(node: Node, family: Family): number {
  if (family === 6) return node.integer(1, 128)
  const mask = parseAddress(node.text())
  return mask?.family === 4 ? ipv4ToNumber(mask) : node.fail('must be a mask like 255.255.255.0')
}

const DESTINATION_KEYS = [
  'address',
  'method',
  'weight',
  'upper-threshold',
  'lower-threshold',
  'tunnel',
]

function decodeDestination(node: Node, service: ServiceId): DesiredDestination {
  node.keys(DESTINATION_KEYS)
  if (!node.has('address')) node.fail('needs an address')
  const endpoint = decodeEndpoint(node.child('address'), service.port)
  const integer = (key: string, otherwise: number) =>
    node.has(key) ? node.child(key).integer(0, I32_MAX) : otherwise
  const method = node.has('method') ? decodeMethod(node.child('method')) : 'direct'
  // These methods cannot change the port.
  const follows = service.fwmark === 0 && (method === 'direct' || method === 'tunnel')
  return {
    id: follows ? { ...endpoint, port: service.port } : endpoint,
    options: {
      method,
      weight: integer('weight', 1),
      upperThreshold: integer('upper-threshold', 0),
      lowerThreshold: integer('lower-threshold', 0),
      tunnel: node.has('tunnel') ? decodeTunnel(node.child('tunnel')) : PLAIN_TUNNEL,
    },
  }
}

function decodeMethod(node: Node): Method {
  const name = node.text()
  if (Object.hasOwn(METHOD_NAMES, name)) return METHOD_NAMES[name]
  return node.fail(`must be one of ${Object.keys(METHOD_NAMES).join(', ')}`)
}

function decodeTunnel(node: Node): Tunnel {
  node.keys(['type', 'port', 'checksum'])
  const choice = <T extends string>(key: string, choices: readonly T[], otherwise: T): T => {
    if (!node.has(key)) return otherwise
    const text = node.child(key).text()
    const found = choices.find((name) => name === text)
    return found ?? node.child(key).fail(`must be one of ${choices.join(', ')}`)
  }
  return {
    type: choice('type', TUNNEL_TYPES, PLAIN_TUNNEL.type),
    port: node.has('port') ? node.child('port').integer(1, U16) : 0,
    checksum: choice('checksum', TUNNEL_CHECKSUMS, PLAIN_TUNNEL.checksum),
  }
}
