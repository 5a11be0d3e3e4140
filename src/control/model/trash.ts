/**
 * The destination trash (spec 1.6): removal, revival and the timed release of slots. Pure; whether
 * a slot is still referenced, and the time, are arguments.
 */
import type { Config } from './config.js'
import { destinationKey } from './destination.js'
import type { Destination, DestinationId, TrashedDestination } from './destination.js'
import { removedPast } from './past.js'
import { isPersistent, serviceKey } from './service.js'
import type { Service, ServiceId } from './service.js'
import { releaseSlots } from './slots.js'
import { Trash } from './trash-bin.js'

/** How often the trash is looked through while there is any, and how long an idle entry stays. */
export const TRASH_PERIOD_MS = 60_000
export const TRASH_IDLE_MS = 120_000

function trashKey(service: ServiceId, id: DestinationId): string {
  return `${serviceKey(service)} -> ${destinationKey(id)}`
}

/**
 * Puts destinations of `service` into the trash. A destination that comes back is taken out again,
 * so there is never more than one entry for the same service and destination.
 */
export function trashDestinations(
  config: Config,
  service: Service,
  destinations: readonly Destination[],
): Config {
  // A removed one has no service that would tell how its connections may be.
  const persistent = isPersistent(service)
  const trash = destinations.reduce(
    (bin, destination) =>
      bin.with(trashKey(service.id, destination), {
        destination: { ...destination, past: removedPast(destination, persistent) },
        service: service.id,
        serviceIncarnation: service.incarnation,
        idleSinceMs: 0,
      }),
    config.trash,
  )
  return { ...config, trash }
}

/** The entry a newly added destination would take over, if any. */
export function findTrashed(
  config: Config,
  service: ServiceId,
  id: DestinationId,
): TrashedDestination | undefined {
  return config.trash.get(trashKey(service, id))
}

/** The configuration without one entry of the trash. */
export function withoutTrashed(config: Config, entry: TrashedDestination): Config {
  const key = trashKey(entry.service, entry.destination)
  return { ...config, trash: config.trash.without(key) }
}

/**
 * One run of the trash timer: entries without connections start or continue their idle time and are
 * freed after TRASH_IDLE_MS.
 */
export function reapTrash(config: Config, nowMs: number, slotsInUse: ReadonlySet<number>): Config {
  let trash = Trash.empty()
  const freed: number[] = []
  for (const entry of config.trash) {
    const { destination, service, idleSinceMs } = entry
    const used = slotsInUse.has(destination.slot)
    if (!used && idleSinceMs !== 0 && nowMs - idleSinceMs >= TRASH_IDLE_MS) {
      freed.push(destination.slot)
      continue
    }
    const idleFrom = used || idleSinceMs !== 0 ? idleSinceMs : nowMs
    trash = trash.with(trashKey(service, destination), { ...entry, idleSinceMs: idleFrom })
  }
  return { ...config, trash, destinationSlots: releaseSlots(config.destinationSlots, freed) }
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

/**
 * The trash of families that have a service: with its last one a family is the host's again, and
 * what connections there were mean nothing. Kernel: ip_vs_ctl.c ip_vs_unregister_hooks.
 */
export function liveTrash(config: Config): TrashedDestination[] {
  const families = new Set([...config.services.values()].map(({ id }) => id.address.family))
  return [...config.trash].filter(({ service }) => families.has(service.address.family))
}
