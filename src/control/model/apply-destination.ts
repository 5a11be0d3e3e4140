/**
 * The destination half of apply.ts: add with revival from the trash, edit, delete (spec 1.4, 1.6).
 */
import { withService } from './config.js'
import type { Config } from './config.js'
import {
  checkDestination,
  checkFamily,
  checkUnicast,
  destinationKey,
  nextLastWeight,
  sameDestination,
} from './destination.js'
import type { Destination, DestinationId, DestinationOptions } from './destination.js'
import { failure, success } from './errors.js'
import type { Result } from './errors.js'
import { checkMethods } from './methods.js'
import { NO_PAST, pastOf } from './past.js'
import { isPersistent, serviceKey } from './service.js'
import type { Service } from './service.js'
import { takeSlot } from './slots.js'
import { findTrashed, trashDestinations, withoutTrashed } from './trash.js'

/** A new destination goes to the head of the list; one in the trash comes back with its slot. */
export function addDestination(
  config: Config,
  service: Service,
  id: DestinationId,
  options: DestinationOptions,
): Result<Config> {
  const family = checkFamily(service.id, id, options.method, config.daemons.length > 0)
  if (!family.ok) return family
  const checked = checkDestination(options)
  if (!checked.ok) return checked
  if (service.destinations.some((other) => sameDestination(other, id))) {
    return failure(
      'DESTINATION_EXISTS',
      `${serviceKey(service.id)} has the destination ${destinationKey(id)} already`,
    )
  }
  const placed = revive(config, service, id, options) ?? create(config, id)
  if (!placed.ok) return placed
  const { base, config: next } = placed.value
  const inserted = config.nextIncarnation
  const destination: Destination = {
    ...base,
    ...options,
    ...id,
    lastWeight: nextLastWeight(true, options.weight, 0),
    inserted,
    hashed: inserted,
  }
  const destinations = [destination, ...service.destinations]
  const methods = checkMethods({ ...service, destinations })
  return methods.ok ? success(withDestinations(next, service, destinations)) : methods
}

/** The configuration with another list of one service, of which its scheduler is told. */
function withDestinations(
  config: Config,
  service: Service,
  destinations: readonly Destination[],
): Config {
  const changes = config.nextIncarnation
  const next = withService(config, { ...service, destinations, changes })
  return { ...next, nextIncarnation: changes + 1 }
}

type Identity = Pick<Destination, 'slot' | 'incarnation' | 'statisticsEpoch' | 'past'>
type Placed = Result<{ base: Identity; config: Config }>

function revive(
  config: Config,
  service: Service,
  id: DestinationId,
  { method }: DestinationOptions,
): Placed | undefined {
  const entry = findTrashed(config, service.id, id)
  if (entry === undefined) return undefined
  const { slot, incarnation, past: before, method: was } = entry.destination
  const now = { method, persistent: isPersistent(service) }
  const past = pastOf(before, { methods: [was], persistent: false }, now)
  const next = withoutTrashed(config, entry)
  // A service that was deleted and created again: connections go on, statistics start at zero.
  const isSame = entry.serviceIncarnation === service.incarnation
  const statisticsEpoch = isSame ? entry.destination.statisticsEpoch : config.nextIncarnation
  return success({ base: { slot, incarnation, statisticsEpoch, past }, config: next })
}

function create(config: Config, id: DestinationId): Placed {
  const unicast = checkUnicast(id)
  if (!unicast.ok) return unicast
  const taken = takeSlot(config.destinationSlots)
  if (taken === undefined) {
    return failure(
      'TABLE_FULL',
      `all ${config.destinationSlots.capacity} destination slots are in use; removed ` +
        'destinations give theirs back two to three minutes after their last connection',
    )
  }
  const incarnation = config.nextIncarnation
  return success({
    base: { slot: taken.slot, incarnation, statisticsEpoch: incarnation, past: NO_PAST },
    config: { ...config, destinationSlots: taken.pool },
  })
}

/** Replaces every option; the list order, slot and connections stay. */
export function editDestination(
  config: Config,
  service: Service,
  id: DestinationId,
  options: DestinationOptions,
): Result<Config> {
  const family = checkFamily(service.id, id, options.method, config.daemons.length > 0)
  if (!family.ok) return family
  const checked = checkDestination(options)
  if (!checked.ok) return checked
  const at = service.destinations.findIndex((other) => sameDestination(other, id))
  if (at < 0) return unknown(service, id)
  const old = service.destinations[at]
  const lastWeight = nextLastWeight(false, options.weight, old.lastWeight)
  const hashed = isSamePlace(old, options) ? old.hashed : config.nextIncarnation
  const persistent = isPersistent(service)
  const now = { method: options.method, persistent }
  const past = pastOf(old.past, { methods: [old.method], persistent }, now)
  const edited = { ...old, ...options, lastWeight, hashed, past }
  const destinations = service.destinations.with(at, edited)
  const methods = checkMethods({ ...service, destinations })
  return methods.ok ? success(withDestinations(config, service, destinations)) : methods
}

/** Whether an edit leaves it where it stands among real servers. Kernel: ip_vs_rs_unhash. */
function isSamePlace(old: Destination, { method, tunnel }: DestinationOptions): boolean {
  const { type, port } = old.tunnel
  return old.method === method && type === tunnel.type && port === tunnel.port
}

/** Removal always goes through the trash, referenced or not. */
export function deleteDestination(
  config: Config,
  service: Service,
  id: DestinationId,
): Result<Config> {
  const gone = service.destinations.find((other) => sameDestination(other, id))
  if (gone === undefined) return unknown(service, id)
  const destinations = service.destinations.filter((other) => other !== gone)
  return success(
    withDestinations(trashDestinations(config, service, [gone]), service, destinations),
  )
}

function unknown(service: Service, id: DestinationId): Result<never> {
  return failure(
    'DESTINATION_UNKNOWN',
    `${serviceKey(service.id)} has no destination ${destinationKey(id)}`,
  )
}
