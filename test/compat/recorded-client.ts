/**
 * A daemon made of the state files the real ipvsadm was recorded with: lists what the file says,
 * answers changes with one error, and writes changes down in the words of the recording shim.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ControlClient } from '../../src/control/api/client.js'
import type {
  ConnectionView,
  DestinationView,
  Outcome,
  RatesView,
  ServiceView,
  StatsView,
} from '../../src/control/api/views.js'
import { addressFromValue, ipv4ToNumber, parseAddress } from '../../src/control/model/address.js'
import type { PublicCommand } from '../../src/control/model/commands.js'
import type { Method } from '../../src/control/model/destination.js'
import { PLAIN_TUNNEL } from '../../src/control/model/destination.js'
import { ControlError } from '../../src/control/model/errors.js'
import type { ErrorCode } from '../../src/control/model/errors.js'
import { PROTOCOL_NUMBER } from '../../src/control/model/service.js'
import type { Protocol, ServiceId, ServiceOptions } from '../../src/control/model/service.js'
import type { ERRNOS } from './cases.js'
import { SOURCE_DIRECTORY } from './recorded.js'

const protocolOf = (number: string): Protocol =>
  (Object.keys(PROTOCOL_NUMBER) as Protocol[]).find((p) => PROTOCOL_NUMBER[p] === Number(number))!

const METHODS: readonly Method[] = ['masquerade', 'local', 'tunnel', 'direct']

/** The ten numbers at the end of a line; the shim reads missing ones as 0. */
function traffic(words: readonly string[]): { stats: StatsView; rates: RatesView } {
  const n = Array.from({ length: 10 }, (_, i) => words[i] ?? '0')
  const [connections, inPackets, outPackets, inBytes, outBytes] = n
  const [cps, inPps, outPps, inBps, outBps] = n.slice(5).map(Number)
  return {
    // The old interface has 32 bits for all but bytes.
    stats: { connections, inPackets, outPackets, inBytes, outBytes },
    rates: {
      connections: cps,
      inPackets: inPps,
      outPackets: outPps,
      inBytes: inBps,
      outBytes: outBps,
    },
  }
}

function readServices(state: string): ServiceView[] {
  const services: (ServiceView & { destinations: DestinationView[] })[] = []
  for (const line of readState(`${state}.state`)) {
    const [kind, ...w] = line.split(' ')
    if (kind === 'service') {
      services.push({
        protocol: protocolOf(w[0]),
        address: w[1],
        port: Number(w[2]),
        fwmark: Number(w[3]),
        scheduler: w[4],
        flags: Number(w[5]),
        persistentSec: Number(w[6]),
        netmask: ipv4ToNumber(parseAddress(w[7])!),
        engine: '',
        localAddresses: [],
        ...traffic(w.slice(8)),
        destinations: [],
      })
    } else if (kind === 'destination') {
      services.at(-1)?.destinations.push({
        address: w[0],
        port: Number(w[1]),
        method: METHODS[Number(w[2])],
        weight: Number(w[3]),
        upperThreshold: Number(w[4]),
        lowerThreshold: Number(w[5]),
        tunnel: PLAIN_TUNNEL,
        active: Number(w[6]),
        inactive: Number(w[7]),
        persistent: Number(w[8]),
        ...traffic(w.slice(9)),
      })
    }
  }
  return services
}

function readState(name: string): string[] {
  const text = readFileSync(join(SOURCE_DIRECTORY, 'record', name), 'utf8')
  return text.split('\n').filter((line) => line !== '')
}

/** Lines of /proc/net/ip_vs_conn, as rows of the API. */
function readConnections(): ConnectionView[] {
  const end = (hex: string, port: string) => {
    const address = addressFromValue(
      hex.length === 8 ? 4 : 6,
      BigInt(`0x${hex.replaceAll(':', '')}`),
    )
    return { address: address.text, port: Number.parseInt(port, 16) }
  }
  return readState('conn.state')
    .slice(1)
    .map((line) => {
      const w = line.trim().split(/\s+/)
      const engine = w[9] === undefined ? {} : { engine: w[9], engineData: w[10] }
      return {
        protocol: w[0].toLowerCase(),
        client: end(w[1], w[2]),
        virtual: end(w[3], w[4]),
        destination: end(w[5], w[6]),
        state: w[7],
        expiresSec: Number(w[8]),
        method: 'masquerade',
        flags: 0,
        template: false,
        ...engine,
      }
    })
}

/** A code of ours that has the errno and is shown with the kernel's text. */
const CODES: Readonly<Record<keyof typeof ERRNOS, ErrorCode>> = {
  EPERM: 'PERMISSION',
  ENOENT: 'SCHEDULER_UNKNOWN',
  ESRCH: 'SERVICE_UNKNOWN',
  EIO: 'DATAPLANE_FAILED',
  ENOMEM: 'TABLE_FULL',
  EEXIST: 'SERVICE_EXISTS',
  EINVAL: 'NETMASK_BAD',
  ERANGE: 'WEIGHT_RANGE',
  EOPNOTSUPP: 'NOT_SUPPORTED',
  EAFNOSUPPORT: 'REQUEST_BAD',
}

export interface RecordedClient extends ControlClient {
  readonly calls: string[]
}

export function recordedClient(state: string, errno: keyof typeof ERRNOS | ''): RecordedClient {
  const calls: string[] = []
  const outcome: Outcome =
    errno === '' ? { ok: true } : { ok: false, code: CODES[errno], message: 'own text' }
  const unused = () => Promise.reject(new Error('not part of ipvsadm'))
  return {
    calls,
    execute(commands) {
      calls.push(...commands.map(callText))
      return Promise.resolve(commands.map(() => outcome))
    },
    services(only) {
      const found = readServices(state).filter((s) => only === undefined || matches(s, only))
      return only !== undefined && found.length === 0
        ? Promise.reject(new ControlError('SERVICE_UNKNOWN', 'no such service'))
        : Promise.resolve(found)
    },
    markRules: unused,
    info: () =>
      Promise.resolve({
        tableSize: 4096,
        timeouts: { tcpSec: 900, tcpFinSec: 120, udpSec: 300 },
        daemons: [],
        sysctls: {},
      }),
    status: unused,
    connections: async (_filter, onBatch) => onBatch(readConnections()),
  }
}

function matches(view: ServiceView, id: ServiceId): boolean {
  if (id.fwmark !== 0 || view.fwmark !== 0) return view.fwmark === id.fwmark
  return view.protocol === id.protocol && view.address === id.address.text && view.port === id.port
}

const CALL_NUMBER: Readonly<Partial<Record<PublicCommand['kind'], number>>> = {
  addService: 1154,
  editService: 1155,
  deleteService: 1156,
  flush: 1157,
  addDestination: 1159,
  deleteDestination: 1160,
  editDestination: 1161,
  setTimeouts: 1162,
  startDaemon: 1163,
  stopDaemon: 1164,
  zero: 1167,
}

/**
 * The shim's line for a command. Records of plain identities are zero where the tool leaves them.
 */
function callText(command: PublicCommand): string {
  const words: (string | number)[] = [CALL_NUMBER[command.kind] ?? 0]
  if (command.kind === 'setTimeouts') {
    const { tcpSec, tcpFinSec, udpSec } = command.timeouts
    words.push('timeouts', tcpSec, tcpFinSec, udpSec)
  } else if ('service' in command || command.kind === 'zero') {
    const options = command.kind === 'addService' || command.kind === 'editService'
    words.push(...serviceWords(command.service, options ? command.options : undefined))
  }
  if ('destination' in command) {
    const { address, port } = command.destination
    const o = command.kind === 'deleteDestination' ? undefined : command.options
    const method = o === undefined ? 3 : METHODS.indexOf(o.method)
    words.push('destination', address.text, port, method, o?.weight ?? 1)
    words.push(o?.upperThreshold ?? 0, o?.lowerThreshold ?? 0)
  }
  return words.join(' ')
}

function serviceWords(
  id: ServiceId | undefined,
  options: ServiceOptions | undefined,
): (string | number)[] {
  const { protocol, address, port, fwmark } = id ?? NOTHING
  const { scheduler = '-', flags = 0, persistentSec = 0, netmask } = options ?? {}
  const mask = (netmask ?? 0xffffffff).toString(16).padStart(8, '0')
  const number = protocol === undefined ? 0 : PROTOCOL_NUMBER[protocol]
  return ['service', number, address.text, port, fwmark, scheduler, flags, persistentSec, mask]
}

const NOTHING = {
  protocol: undefined,
  address: { family: 4, text: '0.0.0.0' },
  port: 0,
  fwmark: 0,
} as const
