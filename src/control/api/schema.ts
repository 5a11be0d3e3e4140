/**
 * The wire form of commands: JSON with addresses as text. Everything that arrives is checked here;
 * what passes has the types of model/commands.ts.
 */
import { parseAddress } from '../model/address.js'
import type { Address } from '../model/address.js'
import type { PublicCommand } from '../model/commands.js'
import { METHODS, TUNNEL_CHECKSUMS, TUNNEL_TYPES } from '../model/destination.js'
import type { DestinationId, DestinationOptions } from '../model/destination.js'
import { ControlError, failure, success } from '../model/errors.js'
import type { Result } from '../model/errors.js'
import { PROXY_PROTOCOLS, UOA_FORMS, UOA_TRAIL_MAX } from '../model/fullnat.js'
import type { FullnatSettings } from '../model/fullnat.js'
import { PROTOCOL_NUMBER } from '../model/service.js'
import type { Protocol, ServiceId, ServiceOptions } from '../model/service.js'
import { DAEMON_ROLES } from '../model/sync-daemon.js'
import type { DaemonOptions } from '../model/sync-daemon.js'

const U16 = 0xffff
const U32 = 0xffffffff
const I32_MAX = 0x7fffffff
const NAME_MAX = 64

/** Command -> JSON value: every address becomes its text. */
export function encodeCommand(command: PublicCommand): unknown {
  return JSON.parse(JSON.stringify(command, (_key, value: unknown) => addressText(value) ?? value))
}

function addressText(value: unknown): string | undefined {
  const shape = value as Partial<Address> | null
  const isAddress =
    typeof shape === 'object' && shape !== null && 'family' in shape && 'text' in shape
  return isAddress ? shape.text : undefined
}

type Shape = Readonly<Record<string, unknown>>

/** JSON value -> command, or a sentence about the field that is wrong. */
export function decodeCommand(value: unknown): Result<PublicCommand> {
  try {
    return success(decode(object(value, 'the command')))
  } catch (error) {
    if (error instanceof ControlError) return { ok: false, error }
    throw error
  }
}

function decode(shape: Shape): PublicCommand {
  const { kind } = shape
  switch (kind) {
    case 'addService':
    case 'editService':
      return { kind, service: service(shape), options: serviceOptions(shape.options) }
    case 'addDestination':
    case 'editDestination':
      return {
        kind,
        service: service(shape),
        destination: destination(shape),
        options: destinationOptions(shape.options),
      }
    case 'deleteService':
      return { kind, service: service(shape) }
    case 'deleteDestination':
      return { kind, service: service(shape), destination: destination(shape) }
    case 'flush':
      return { kind }
    case 'zero':
      return shape.service === undefined ? { kind } : { kind, service: service(shape) }
    case 'setTimeouts': {
      const t = object(shape.timeouts, 'timeouts')
      const sec = (name: string) => integer(t, name, -I32_MAX, I32_MAX)
      const timeouts = { tcpSec: sec('tcpSec'), tcpFinSec: sec('tcpFinSec'), udpSec: sec('udpSec') }
      return { kind, timeouts }
    }
    case 'addLocalAddress':
    case 'deleteLocalAddress':
      return { kind, service: service(shape), address: address(shape, 'address') }
    case 'setSysctl':
      return { kind, name: text(shape, 'name'), value: text(shape, 'value') }
    case 'setFullnat':
      return { kind, fullnat: fullnatSettings(shape.fullnat) }
    case 'setDefaultLocalAddresses':
      return { kind, addresses: addressList(shape.addresses) }
    case 'startDaemon':
      return { kind, daemon: daemon(shape.daemon) }
    case 'stopDaemon':
      return { kind, role: choice(shape, 'role', DAEMON_ROLES) }
    default:
      throw bad(`there is no command "${String(kind)}"`)
  }
}

function bad(message: string): ControlError {
  return new ControlError('REQUEST_BAD', message)
}

function object(value: unknown, name: string): Shape {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Shape
  throw bad(`${name} must be an object`)
}

function text(shape: Shape, name: string): string {
  const value = shape[name]
  if (typeof value === 'string' && value.length <= NAME_MAX) return value
  throw bad(`${name} must be a text of at most ${NAME_MAX} characters`)
}

function integer(shape: Shape, name: string, low: number, high: number): number {
  const value = shape[name]
  if (typeof value === 'number' && Number.isInteger(value) && value >= low && value <= high) {
    return value
  }
  throw bad(`${name} must be an integer from ${low} to ${high}`)
}

function boolean(shape: Shape, name: string): boolean {
  const value = shape[name]
  if (typeof value === 'boolean') return value
  throw bad(`${name} must be true or false`)
}

function choice<T extends string>(shape: Shape, name: string, choices: readonly T[]): T {
  const found = choices.find((option) => option === shape[name])
  if (found !== undefined) return found
  throw bad(`${name} must be one of ${choices.join(', ')}`)
}

function address(shape: Shape, name: string): Address {
  const parsed = parseAddress(text(shape, name))
  if (parsed !== undefined) return parsed
  throw bad(`${name} must be an IPv4 or IPv6 address`)
}

function addressList(value: unknown): Address[] {
  if (!Array.isArray(value)) throw bad('addresses must be a list')
  return value.map((item: unknown) => address({ address: item }, 'address'))
}

const PROTOCOLS = Object.keys(PROTOCOL_NUMBER) as Protocol[]

function service(shape: Shape): ServiceId {
  return decodeServiceId(object(shape.service, 'service'))
}

/** The id of a service from its four fields. Throws ControlError. */
export function decodeServiceId(id: Shape): ServiceId {
  return {
    protocol: choice(id, 'protocol', PROTOCOLS),
    address: address(id, 'address'),
    port: integer(id, 'port', 0, U16),
    fwmark: integer(id, 'fwmark', 0, U32),
  }
}

function serviceOptions(value: unknown): ServiceOptions {
  const shape = object(value, 'options')
  return {
    scheduler: text(shape, 'scheduler'),
    flags: integer(shape, 'flags', 0, U32),
    persistentSec: integer(shape, 'persistentSec', 0, U32),
    netmask: integer(shape, 'netmask', 0, U32),
    engine: text(shape, 'engine'),
    ...optional(shape, 'proxyProtocol', (name) => choice(shape, name, PROXY_PROTOCOLS)),
  }
}

function optional<K extends string, T>(
  shape: Shape,
  name: K,
  read: (name: K) => T,
): Partial<Record<K, T>> {
  return shape[name] === undefined ? {} : ({ [name]: read(name) } as Record<K, T>)
}

function fullnatSettings(value: unknown): Partial<FullnatSettings> {
  const shape = object(value, 'fullnat')
  return {
    ...optional(shape, 'toa', (name) => boolean(shape, name)),
    ...optional(shape, 'randomIsn', (name) => boolean(shape, name)),
    ...optional(shape, 'uoa', (name) => choice(shape, name, UOA_FORMS)),
    ...optional(shape, 'uoaTrail', (name) => integer(shape, name, 0, UOA_TRAIL_MAX)),
  }
}

function destination(shape: Shape): DestinationId {
  const id = object(shape.destination, 'destination')
  return { address: address(id, 'address'), port: integer(id, 'port', 0, U16) }
}

function destinationOptions(value: unknown): DestinationOptions {
  const shape = object(value, 'options')
  const tunnel = object(shape.tunnel, 'tunnel')
  return {
    method: choice(shape, 'method', METHODS),
    weight: integer(shape, 'weight', -I32_MAX, I32_MAX),
    upperThreshold: integer(shape, 'upperThreshold', 0, U32),
    lowerThreshold: integer(shape, 'lowerThreshold', 0, U32),
    tunnel: {
      type: choice(tunnel, 'type', TUNNEL_TYPES),
      port: integer(tunnel, 'port', 0, U16),
      checksum: choice(tunnel, 'checksum', TUNNEL_CHECKSUMS),
    },
  }
}

function daemon(value: unknown): DaemonOptions {
  const shape = object(value, 'daemon')
  return {
    role: choice(shape, 'role', DAEMON_ROLES),
    interface: text(shape, 'interface'),
    syncId: integer(shape, 'syncId', 0, U32),
    maxLength: integer(shape, 'maxLength', 0, U16),
    group: shape.group === undefined ? undefined : address(shape, 'group'),
    port: integer(shape, 'port', 0, U16),
    ttl: integer(shape, 'ttl', 0, 255),
  }
}

/** What a listing of connections may be limited to. */
export interface ConnectionFilter {
  readonly protocol?: string
  readonly client?: string
  readonly virtual?: string
  readonly destination?: string
  readonly state?: string
}

export const FILTER_FIELDS = ['protocol', 'client', 'virtual', 'destination', 'state'] as const

/** Filter from query parameters; unknown names are refused. */
export function decodeFilter(query: URLSearchParams): Result<ConnectionFilter> {
  const filter: Record<string, string> = {}
  for (const [name, value] of query) {
    if (!(FILTER_FIELDS as readonly string[]).includes(name)) {
      return failure('REQUEST_BAD', `connections cannot be filtered by "${name}"`)
    }
    filter[name] = value
  }
  return success(filter)
}
