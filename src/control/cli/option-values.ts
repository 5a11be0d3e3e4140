/**
 * What each option of a line does to the draft, with the tool's own checks and messages (spec
 * 10.2).
 */
import { ipv4ToNumber, parseAddress } from '../model/address.js'
import { PROXY_PROTOCOLS } from '../model/fullnat.js'
import { TUNNEL_TYPES } from '../model/destination.js'
import { hostNetmask } from '../model/service.js'
import type { Protocol } from '../model/service.js'
import { isMulticast } from '../model/sync-daemon.js'
import { TIMEOUT_MAX_SEC } from './draft.js'
import type { Draft } from './draft.js'
import { parseEndpoint, parseHost, wholeNumber } from './endpoint.js'
import type { OptionName } from './options.js'
import type { Resolver } from './resolver.js'

type Problem = string | undefined
type Handler = (draft: Draft, value: string, resolver: Resolver) => Problem | Promise<Problem>

const INT_MAX = 0x7fffffff
const NAME_MAX = 15
const ENGINE_MAX = 16
const DEFAULT_PERSISTENT_SEC = 360

/**
 * Applies one option; returns the message of its mistake, if any. `value` is undefined where the
 * option has none, which only -p leaves to the user.
 */
export function applyOption(
  draft: Draft,
  name: OptionName,
  value: string | undefined,
  resolver: Resolver,
): Problem | Promise<Problem> {
  const given = value ?? (name === 'persistent' ? String(DEFAULT_PERSISTENT_SEC) : '')
  return HANDLERS[name]?.(draft, given, resolver)
}

function service(protocol: Protocol): Handler {
  return async (draft, value, resolver) => {
    const endpoint = await parseEndpoint(value, protocol, resolver)
    if (endpoint === undefined) return 'illegal virtual server address[:port] specified'
    draft.protocol = protocol
    draft.address = endpoint.address
    draft.port = endpoint.port ?? 0
    if (endpoint.address.family === 6) {
      draft.family = 6
      draft.netmask = hostNetmask(6)
    }
    return undefined
  }
}

function number(
  low: number,
  high: number,
  message: (value: string) => string,
  store: (draft: Draft, value: number) => void,
): Handler {
  return (draft, value) => {
    const parsed = wholeNumber(value, low, high)
    if (parsed === undefined) return message(value)
    store(draft, parsed)
    return undefined
  }
}

/** A number of the synchronisation daemon. */
function daemonNumber(
  name: string,
  low: number,
  high: number,
  store: (draft: Draft, value: number) => void,
): Handler {
  return number(low, high, () => `illegal ${name} specified`, store)
}

function set(change: (draft: Draft, value: string) => void): Handler {
  return (draft, value) => {
    change(draft, value)
    return undefined
  }
}

const HANDLERS: Partial<Record<OptionName, Handler>> = {
  'tcp-service': service('tcp'),
  'udp-service': service('udp'),
  'sctp-service': service('sctp'),
  'fwmark-service': number(
    1,
    0xffffffff,
    (value) => `invalid fwmark value \`${value}' specified`,
    (draft, value) => {
      draft.fwmark = value
      draft.protocol = 'tcp'
    },
  ),
  ipv6: (draft) => {
    // The trailing newline is the tool's.
    if (draft.fwmark === 0) return '-6 used before -f\n'
    draft.family = 6
    draft.netmask = hostNetmask(6)
    return undefined
  },
  scheduler: set((draft, value) => (draft.scheduler = value.slice(0, NAME_MAX))),
  persistent: persistent,
  netmask: netmask,
  pe: set((draft, value) => (draft.engine = value.slice(0, ENGINE_MAX))),
  ops: set((draft) => (draft.onePacket = true)),
  'sched-flags': set((draft, value) => (draft.schedulerFlagText = value)),
  'real-server': realServer,
  gatewaying: set((draft) => (draft.method = 'direct')),
  ipip: set((draft) => (draft.method = 'tunnel')),
  masquerading: set((draft) => (draft.method = 'masquerade')),
  fullnat: set((draft) => (draft.method = 'fullnat')),
  weight: number(
    0,
    INT_MAX,
    () => 'illegal weight specified',
    (draft, value) => (draft.weight = value),
  ),
  'u-threshold': number(
    0,
    INT_MAX,
    () => 'illegal u_threshold specified',
    (draft, value) => (draft.upperThreshold = value),
  ),
  'l-threshold': number(
    0,
    INT_MAX,
    () => 'illegal l_threshold specified',
    (draft, value) => (draft.lowerThreshold = value),
  ),
  'tun-type': (draft, value) => {
    const type = TUNNEL_TYPES.find((name) => name === value)
    if (type === undefined) return 'illegal tunnel type specified'
    draft.tunnelType = type
    return undefined
  },
  'tun-port': number(
    1,
    65535,
    () => 'illegal tunnel port specified',
    (draft, value) => (draft.tunnelPort = value),
  ),
  'tun-nocsum': set((draft) => (draft.tunnelChecksum = 'nocsum')),
  'tun-csum': set((draft) => (draft.tunnelChecksum = 'csum')),
  'tun-remcsum': set((draft) => (draft.tunnelChecksum = 'remcsum')),
  syncid: daemonNumber('syncid', 0, 255, (draft, value) => (draft.syncId = value)),
  'sync-maxlen': daemonNumber(
    'sync-maxlen',
    1,
    65507,
    (draft, value) => (draft.syncMaxLength = value),
  ),
  'mcast-interface': set((draft, value) => (draft.syncInterface = value.slice(0, NAME_MAX))),
  'mcast-port': daemonNumber('mcast-port', 1, 65535, (draft, value) => (draft.syncPort = value)),
  'mcast-ttl': daemonNumber('mcast-ttl', 1, 255, (draft, value) => (draft.syncTtl = value)),
  'mcast-group': (draft, value) => {
    const address = parseAddress(value)
    if (address !== undefined && isMulticast(address)) {
      draft.syncGroup = address
      return undefined
    }
    return `invalid IPv${address?.family === 6 ? 6 : 4} mcast-group \`${value}'`
  },
  'local-address': (draft, value) => {
    const address = parseAddress(value)
    if (address === undefined) return 'illegal local address specified'
    draft.localAddress = address
    return undefined
  },
  'proxy-protocol': (draft, value) => {
    const found = PROXY_PROTOCOLS.find((name) => name === (value === 'disable' ? 'off' : value))
    if (found === undefined || value === 'off') {
      return (
        `illegal proxy protocol \`${value}' specified: give disable, v1, v2, v1-insecure or ` +
        'v2-insecure'
      )
    }
    draft.proxyProtocol = found
    return undefined
  },
  synproxy: (draft, value) => {
    draft.synproxy = value === 'enable'
    if (value === 'enable' || value === 'disable') return undefined
    return `illegal synproxy value \`${value}' specified: give enable or disable`
  },
}

function persistent(draft: Draft, value: string): Problem {
  const seconds = wholeNumber(value, 1, TIMEOUT_MAX_SEC)
  if (seconds === undefined) return `invalid timeout value \`${value}' specified`
  draft.persistentSec = seconds
  return undefined
}

async function netmask(draft: Draft, value: string, resolver: Resolver): Promise<Problem> {
  if (draft.family === 6) {
    const prefix = wholeNumber(value, 1, 128)
    if (prefix === undefined) return 'illegal ipv6 netmask specified'
    draft.netmask = prefix
    return undefined
  }
  const mask = await parseHost(value, resolver)
  if (mask === undefined) return 'illegal virtual server persistent mask specified'
  draft.netmask = ipv4ToNumber(mask)
  return undefined
}

async function realServer(draft: Draft, value: string, resolver: Resolver): Promise<Problem> {
  const endpoint = await parseEndpoint(value, draft.protocol, resolver)
  if (endpoint === undefined) return 'illegal real server address[:port] specified'
  draft.destinationAddress = endpoint.address
  draft.destinationPort = endpoint.port ?? draft.port
  return undefined
}
