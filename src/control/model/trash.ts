/**
 * The destination trash (spec 1.6): removal, revival and the timed release of slots. Pure; whether
 * a slot is still referenced, and the time, are arguments.
 */
import type { Config } from './config.js'
import { sameDestination } from './destination.js'
import type { Destination, DestinationId, TrashedDestination } from './destination.js'
import { serviceKey } from './service.js'
import type { Service, ServiceId } from './service.js'
import { releaseSlots } from './slots.js'

/** How often the trash is looked through, and how long an idle entry stays. Kernel: ip_vs_ctl.c. */
export const TRASH_PERIOD_MS = 60_000
export const TRASH_IDLE_MS = 120_000

/** Puts destinations of `service` into the trash; newest entries first, as lookups want them. */
export function trashDestinations(
  config: Config,
  service: Service,
  destinations: readonly Destination[],
): Config {
  const entries = destinations.map((destination) => ({
    destination,
    service: service.id,
    serviceIncarnation: service.incarnation,
    idleSinceMs: 0,
  }))
  return { ...config, trash: [...entries, ...config.trash] }
}

/** The entry a newly added destination would take over, if any. */
export function findTrashed(
  config: Config,
  service: ServiceId,
  id: DestinationId,
): TrashedDestination | undefined {
  const key = serviceKey(service)
  return config.trash.find(
    (entry) => sameDestination(entry.destination, id) && serviceKey(entry.service) === key,
  )
}

/** The configuration without one entry of the trash. */
export function withoutTrashed(config: Config, entry: TrashedDestination): Config {
  return { ...config, trash: config.trash.filter((other) => other !== entry) }
}

/**
 * One run of the trash timer: entries without connections start or continue their idle time and are
 * freed after TRASH_IDLE_MS.
 */
export function reapTrash(config: Config, nowMs: number, slotsInUse: ReadonlySet<number>): Config {
  const kept: TrashedDestination[] = []
  const freed: number[] = []
  for (const entry of config.trash) {
    if (slotsInUse.has(entry.destination.slot)) kept.push(entry)
    else if (entry.idleSinceMs === 0) kept.push({ ...entry, idleSinceMs: nowMs })
    else if (nowMs - entry.idleSinceMs < TRASH_IDLE_MS) kept.push(entry)
    else freed.push(entry.destination.slot)
  }
  return {
    ...config,
    trash: kept,
    destinationSlots: releaseSlots(config.destinationSlots, freed),
  }
}

/** Slots of deleted services become free: every worker has adopted a config without them. */
export function releaseRetired(config: Config): Config {
  if (config.retiredServiceSlots.length === 0) return config
  return {
    ...config,
    retiredServiceSlots: [],
    serviceSlots: releaseSlots(config.serviceSlots, config.retiredServiceSlots),
  }
}
