/**
 * What connections to a destination may be beside what new ones are. They keep what they began with
 * when it or its service is edited (spec 1.4), so that the host's side of the data plane has to go
 * on taking their packets. Pure.
 */
import { withService } from './config.js'
import type { Config } from './config.js'
import type { Method } from './destination.js'

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

/** `past` with what the destination was until now. */
export function withPast(past: Past, methods: readonly Method[], persistent: boolean): Past {
  return {
    methods: [...new Set([...past.methods, ...methods])],
    persistent: past.persistent || persistent,
    idle: false,
  }
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
    if (service.destinations.every(({ past }) => past === NO_PAST)) continue
    const destinations = service.destinations.map((one) => {
      if (one.past === NO_PAST) return one
      if (slotsInUse.has(one.slot)) return { ...one, past: { ...one.past, idle: false } }
      return { ...one, past: one.past.idle ? NO_PAST : { ...one.past, idle: true } }
    })
    next = withService(next, { ...service, destinations })
  }
  return next
}
