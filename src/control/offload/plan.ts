/**
 * (what is wanted, what the kernel has) -> the steps from one to the other. Pure. What is the same
 * is not touched, so that connections never notice a restart or a repair.
 */
import type { Timeouts } from '../model/config.js'
import { destinationKey } from '../model/destination.js'
import type { DestinationId, DestinationOptions } from '../model/destination.js'
import { SERVICE_FLAGS, serviceKey } from '../model/service.js'
import type { ServiceId, ServiceOptions } from '../model/service.js'
import type { DaemonOptions, DaemonRole, SyncDaemon } from '../model/sync-daemon.js'
import type { KernelDestination, KernelService, KernelState } from './kernel-state.js'

export type Operation =
  | {
      readonly kind: 'newService' | 'setService'
      readonly service: ServiceId
      readonly options: ServiceOptions
    }
  | { readonly kind: 'deleteService'; readonly service: ServiceId }
  | {
      readonly kind: 'newDestination' | 'setDestination'
      readonly service: ServiceId
      readonly destination: DestinationId
      readonly options: DestinationOptions
    }
  | {
      readonly kind: 'deleteDestination'
      readonly service: ServiceId
      readonly destination: DestinationId
    }
  | { readonly kind: 'newDaemon'; readonly daemon: DaemonOptions }
  | { readonly kind: 'deleteDaemon'; readonly role: DaemonRole }
  | { readonly kind: 'setTimeouts'; readonly timeouts: Timeouts }

/** What a plan is made for: a configuration, or what the kernel had before us. */
export interface Wanted {
  /** By serviceKey. */
  readonly services: WantedServices
  readonly daemons: readonly SyncDaemon[]
  readonly timeouts: Timeouts
}

/** As much of a map as a plan needs: the configuration has one of its own. */
export interface WantedServices extends Iterable<[string, WantedService]> {
  get(key: string): WantedService | undefined
  keys(): Iterable<string>
}

export interface WantedService extends ServiceOptions {
  readonly id: ServiceId
  readonly incarnation: number
  /** Newest first. */
  readonly destinations: readonly WantedDestination[]
}

export interface WantedDestination extends DestinationId, DestinationOptions {
  readonly statisticsEpoch: number
}

/** The kernel's present state as something to come back to. What has no words in it is left out. */
export function wantedOf({ services, daemons, timeouts }: KernelState): Wanted {
  const wanted = [...services].map(([key, { id, options, destinations }]) => {
    const known = [...destinations.values()].flatMap(({ address, port, options: own }) =>
      own === undefined ? [] : [{ ...own, address, port, statisticsEpoch: 0 }],
    )
    return [key, { ...options, id, incarnation: 0, destinations: known }] as [string, WantedService]
  })
  return { services: new Map(wanted), daemons, timeouts }
}

export interface PlanOptions {
  /** The configuration that was in force until now: what it made anew is made anew. */
  readonly before?: Wanted
  /** keysOf() what may be removed when it is not wanted. */
  readonly owned: ReadonlySet<string>
  /** True: services of nobody's are removed too. */
  readonly removeForeign: boolean
  /** False: the kernel's timeouts are not ours. */
  readonly setTimeouts: boolean
}

/** What a configuration makes in the kernel, as a list of names. */
export function keysOf(config: Wanted): string[] {
  return [...config.services.keys(), ...config.daemons.map(({ role }) => daemonKey(role))]
}

const daemonKey = (role: DaemonRole): string => `daemon ${role}`

/** The steps, removals first; the kernel puts each new destination before the older ones. */
export function plan(wanted: Wanted, found: KernelState, options: PlanOptions): Operation[] {
  const operations: Operation[] = []
  for (const [key, { id }] of found.services) {
    const isOurs = options.owned.has(key) || options.removeForeign
    const service = wanted.services.get(key)
    const isAnew = service !== undefined && isReplaced(options.before?.services.get(key), service)
    if ((service === undefined && isOurs) || isAnew) {
      operations.push({ kind: 'deleteService', service: id })
    }
  }
  const gone = new Set(
    operations.flatMap((one) => (one.kind === 'deleteService' ? [serviceKey(one.service)] : [])),
  )
  for (const [key, service] of wanted.services) {
    const old = gone.has(key) ? undefined : found.services.get(key)
    planService(operations, service, old, options.before?.services.get(key))
  }
  planDaemons(operations, wanted.daemons, found.daemons, options.owned)
  const { timeouts } = wanted
  if (options.setTimeouts && timeoutsText(timeouts) !== timeoutsText(found.timeouts)) {
    operations.push({ kind: 'setTimeouts', timeouts })
  }
  return operations
}

const timeoutsText = ({ tcpSec, tcpFinSec, udpSec }: Timeouts): string =>
  [tcpSec, tcpFinSec, udpSec].join()

/** Deleted and added again in one change: its counters and connections start anew. */
function isReplaced(before: WantedService | undefined, after: WantedService): boolean {
  return before !== undefined && before.incarnation !== after.incarnation
}

function planService(
  operations: Operation[],
  wanted: WantedService,
  found: KernelService | undefined,
  before: WantedService | undefined,
): void {
  const { id } = wanted
  const options = optionsOf(wanted)
  if (found === undefined) {
    operations.push({ kind: 'newService', service: id, options })
  } else if (!sameServiceOptions(options, found.options)) {
    operations.push({ kind: 'setService', service: id, options })
  }
  planDestinations(operations, wanted, found?.destinations ?? new Map(), before)
}

function planDestinations(
  operations: Operation[],
  { id, destinations }: WantedService,
  found: ReadonlyMap<string, KernelDestination>,
  before: WantedService | undefined,
): void {
  const wanted = new Map(destinations.map((one) => [destinationKey(one), one]))
  const epochs = new Map(
    before?.destinations.map((one) => [destinationKey(one), one.statisticsEpoch]),
  )
  const kept = new Set<string>()
  for (const [key, old] of found) {
    const one = wanted.get(key)
    const epoch = epochs.get(key)
    if (one === undefined || (epoch !== undefined && epoch !== one.statisticsEpoch)) {
      operations.push({ kind: 'deleteDestination', service: id, destination: identity(old) })
    } else {
      kept.add(key)
    }
  }
  // The list is newest first, so the last one was there first.
  for (const one of destinations.toReversed()) {
    const key = destinationKey(one)
    const old = kept.has(key) ? found.get(key) : undefined
    const options = destinationOptionsOf(one)
    if (old !== undefined && sameDestinationOptions(options, old.options)) continue
    const kind = old === undefined ? 'newDestination' : 'setDestination'
    operations.push({ kind, service: id, destination: identity(one), options })
  }
}

function planDaemons(
  operations: Operation[],
  wanted: readonly SyncDaemon[],
  found: readonly SyncDaemon[],
  owned: ReadonlySet<string>,
): void {
  const text = (daemon: SyncDaemon): string =>
    JSON.stringify([daemon.role, daemon.interface, daemon.syncId, daemon.maxLength]) +
    JSON.stringify([daemon.group.text, daemon.port, daemon.ttl])
  for (const daemon of found) {
    const one = wanted.find(({ role }) => role === daemon.role)
    // A half that we never started is somebody else's.
    const isOurs = one !== undefined || owned.has(daemonKey(daemon.role))
    if (isOurs && (one === undefined || text(one) !== text(daemon))) {
      operations.push({ kind: 'deleteDaemon', role: daemon.role })
    }
  }
  for (const daemon of wanted) {
    if (!found.some((one) => text(one) === text(daemon))) {
      operations.push({ kind: 'newDaemon', daemon })
    }
  }
}

function optionsOf(service: ServiceOptions): ServiceOptions {
  const { scheduler, flags, persistentSec, netmask, engine } = service
  return { scheduler, flags, persistentSec, netmask, engine }
}

function destinationOptionsOf(destination: DestinationOptions): DestinationOptions {
  const { method, weight, upperThreshold, lowerThreshold, tunnel } = destination
  return { method, weight, upperThreshold, lowerThreshold, tunnel }
}

function identity({ address, port }: DestinationId): DestinationId {
  return { address, port }
}

function sameServiceOptions(a: ServiceOptions, b: ServiceOptions): boolean {
  const text = (o: ServiceOptions): string =>
    JSON.stringify([
      o.scheduler,
      (o.flags | SERVICE_FLAGS.HASHED) >>> 0,
      o.persistentSec,
      o.netmask,
      o.engine,
    ])
  return text(a) === text(b)
}

function sameDestinationOptions(
  wanted: DestinationOptions,
  found: DestinationOptions | undefined,
): boolean {
  const text = (o: DestinationOptions): string =>
    JSON.stringify([o.method, o.weight, o.upperThreshold, o.lowerThreshold]) +
    JSON.stringify([o.tunnel.type, o.tunnel.port, o.tunnel.checksum])
  return found !== undefined && text(wanted) === text(found)
}

/** One line for the log. */
export function describeOperation(operation: Operation): string {
  switch (operation.kind) {
    case 'newDaemon':
      return `start the ${operation.daemon.role} daemon`
    case 'deleteDaemon':
      return `stop the ${operation.role} daemon`
    case 'setTimeouts':
      return 'set the timeouts'
    case 'newService':
      return `add the service ${serviceKey(operation.service)}`
    case 'setService':
      return `change the service ${serviceKey(operation.service)}`
    case 'deleteService':
      return `remove the service ${serviceKey(operation.service)}`
    default: {
      const verb = { newDestination: 'add', setDestination: 'change', deleteDestination: 'remove' }
      const { destination, service } = operation
      const what = `${destinationKey(destination)} of ${serviceKey(service)}`
      return `${verb[operation.kind]} the destination ${what}`
    }
  }
}
