/**
 * (old config, new config) -> what happened, for the log and for side effects outside the model.
 */
import type { Address } from './address.js'
import type { Config } from './config.js'
import { destinationKey } from './destination.js'
import type { Destination } from './destination.js'
import { serviceKey } from './service.js'
import type { Service } from './service.js'
import type { SyncDaemon } from './sync-daemon.js'

export type Action =
  | {
      readonly kind: 'serviceAdded' | 'serviceRemoved' | 'serviceChanged'
      readonly service: Service
    }
  | {
      readonly kind: 'destinationAdded' | 'destinationRemoved' | 'destinationChanged'
      readonly service: Service
      readonly destination: Destination
    }
  | { readonly kind: 'daemonStarted' | 'daemonStopped'; readonly daemon: SyncDaemon }
  | { readonly kind: 'markRulesChanged'; readonly count: number }
  | { readonly kind: 'settingsChanged' }

/** Actions from removed to added, services before their destinations. */
export function diff(before: Config, after: Config): Action[] {
  const actions: Action[] = []
  for (const [key, service] of before.services) {
    if (after.services.get(key)?.incarnation !== service.incarnation) {
      actions.push({ kind: 'serviceRemoved', service })
    }
  }
  for (const [key, service] of after.services) {
    const old = before.services.get(key)
    if (old === service) continue
    if (old === undefined || old.incarnation !== service.incarnation) {
      actions.push({ kind: 'serviceAdded', service })
      diffDestinations(actions, service, [], service.destinations)
      continue
    }
    if (optionsText(old) !== optionsText(service)) actions.push({ kind: 'serviceChanged', service })
    diffDestinations(actions, service, old.destinations, service.destinations)
  }
  for (const daemon of before.daemons) {
    if (!after.daemons.includes(daemon)) actions.push({ kind: 'daemonStopped', daemon })
  }
  for (const daemon of after.daemons) {
    if (!before.daemons.includes(daemon)) actions.push({ kind: 'daemonStarted', daemon })
  }
  if (before.markRules !== after.markRules) {
    actions.push({ kind: 'markRulesChanged', count: after.markRules.length })
  }
  if (
    before.timeouts !== after.timeouts ||
    before.sysctls !== after.sysctls ||
    before.fullnat !== after.fullnat
  ) {
    actions.push({ kind: 'settingsChanged' })
  }
  return actions
}

function diffDestinations(
  actions: Action[],
  service: Service,
  before: readonly Destination[],
  after: readonly Destination[],
): void {
  const left = new Map(before.map((destination) => [destinationKey(destination), destination]))
  for (const destination of after) {
    const old = left.get(destinationKey(destination))
    left.delete(destinationKey(destination))
    if (old !== undefined && isSame(old, destination)) continue
    const kind = old === undefined ? 'destinationAdded' : 'destinationChanged'
    actions.push({ kind, service, destination })
  }
  for (const destination of left.values()) {
    actions.push({ kind: 'destinationRemoved', service, destination })
  }
}

/** What one was before edits is nobody's business. */
function isSame(a: Destination, b: Destination): boolean {
  const text = (one: Destination) => JSON.stringify({ ...one, past: undefined })
  return a === b || (a.past !== b.past && text(a) === text(b))
}

function optionsText(service: Service): string {
  return JSON.stringify({ ...service, destinations: undefined, changes: undefined })
}

/** Addresses the director answers for: those of address services, without repetition. */
export function virtualAddresses(config: Config): Address[] {
  const found = new Map<string, Address>()
  for (const { id } of config.services.values()) {
    if (id.fwmark === 0) found.set(id.address.text, id.address)
  }
  return [...found.values()]
}

/** FULLNAT source addresses of all services, without repetition. */
export function localAddresses(config: Config): Address[] {
  const found = new Map<string, Address>()
  for (const service of config.services.values()) {
    for (const address of service.localAddresses) found.set(address.text, address)
  }
  for (const address of config.defaultLocalAddresses) found.set(address.text, address)
  return [...found.values()]
}

/** One line for the log. */
export function describeAction(action: Action): string {
  switch (action.kind) {
    case 'settingsChanged':
      return 'settings changed'
    case 'markRulesChanged':
      return `mark rules changed, now ${action.count}`
    case 'daemonStarted':
    case 'daemonStopped': {
      const verb = action.kind.slice('daemon'.length).toLowerCase()
      return `${action.daemon.role} synchronisation daemon ${verb}`
    }
    case 'serviceAdded':
    case 'serviceRemoved':
    case 'serviceChanged': {
      const verb = action.kind.slice('service'.length).toLowerCase()
      return `service ${serviceKey(action.service.id)} ${verb}`
    }
    default: {
      const verb = action.kind.slice('destination'.length).toLowerCase()
      const { destination, service } = action
      return `destination ${destinationKey(destination)} of ${serviceKey(service.id)} ${verb}`
    }
  }
}
