/**
 * What connections to a destination may be beside what new ones are. They keep what they began with
 * when it or its service is edited (spec 1.4), so that the host's side of the data plane has to go
 * on taking their packets (docs/decisions/0023-connections-outlive-edits.md). Pure.
 */
import { withService } from './config.js'
import type { Config } from './config.js'
import type { Destination, Method } from './destination.js'

/** How often it is looked whether a past is still needed. */
export const PAST_PERIOD_MS = 60_000

/** Of one destination. */
export interface Past {
  readonly methods: readonly Method[]
  /** Its service was persistent: connections may have other ports than the service's. */
  readonly persistent: boolean
  /** No connection named the destination at the last look; at the next the past is forgotten. */
  readonly idle: boolean
}

export const NO_PAST: Past = { methods: [], persistent: false, idle: false }

/**
 * The past of a destination that was `methods`, and whose service was persistent or not, and now
 * has another method or is of another kind of service: what is as it is now is no past.
 */
export function pastOf(
  past: Past,
  was: { readonly methods: readonly Method[]; readonly persistent: boolean },
  now: { readonly method: Method; readonly persistent: boolean },
): Past {
  const all = new Set([...past.methods, ...was.methods])
  const methods = [...all].filter((method) => method !== now.method)
  const persistent = (past.persistent || was.persistent) && !now.persistent
  return methods.length === 0 && !persistent ? NO_PAST : { methods, persistent, idle: false }
}

/** The past of a destination that leaves a service, persistent or not. */
export function removedPast({ past, method }: Destination, persistent: boolean): Past {
  return pastOf(past, { methods: [], persistent }, { method, persistent: false })
}

/** Whether a destination has a past that is to be forgotten once no connection needs it. */
export function hasPast({ services }: Config): boolean {
  for (const { destinations } of services.values()) {
    if (destinations.some(({ past }) => past !== NO_PAST)) return true
  }
  return false
}

/**
 * Forgets what destinations were before edits, once no connection has named them at two looks in a
 * row: at the first, a worker may have made one that did not know of the edit yet.
 */
export function forgetPasts(config: Config, slotsInUse: ReadonlySet<number>): Config {
  let next = config
  for (const service of config.services.values()) {
    const destinations = service.destinations.map((one) => {
      const past = lookedAt(one.past, slotsInUse.has(one.slot))
      return past === one.past ? one : { ...one, past }
    })
    const isSame = destinations.every((one, i) => one === service.destinations[i])
    if (!isSame) next = withService(next, { ...service, destinations })
  }
  return next
}

function lookedAt(past: Past, isUsed: boolean): Past {
  if (past === NO_PAST) return past
  if (isUsed) return past.idle ? { ...past, idle: false } : past
  return past.idle ? NO_PAST : { ...past, idle: true }
}
