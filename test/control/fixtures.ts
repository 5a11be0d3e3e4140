/** Short ways to write commands in tests. */
import { parseAddress } from '../../src/control/model/address.js'
import type { Address } from '../../src/control/model/address.js'
import { apply } from '../../src/control/model/apply.js'
import type { Command, PublicCommand } from '../../src/control/model/commands.js'
import { emptyConfig } from '../../src/control/model/config.js'
import type { Capacity, Config } from '../../src/control/model/config.js'
import { PLAIN_TUNNEL } from '../../src/control/model/destination.js'
import type { DestinationOptions } from '../../src/control/model/destination.js'
import { hostNetmask, serviceKey } from '../../src/control/model/service.js'
import type { Protocol, ServiceId, ServiceOptions } from '../../src/control/model/service.js'

export const CAPACITY: Capacity = { services: 8, destinations: 16, localAddresses: 4 }

export function ip(text: string): Address {
  const address = parseAddress(text)
  if (address === undefined) throw new Error(`not an address: ${text}`)
  return address
}

export function serviceId(
  address = '198.18.0.1',
  port = 80,
  protocol: Protocol = 'tcp',
): ServiceId {
  return { protocol, address: ip(address), port, fwmark: 0 }
}

export function serviceOptions(
  id: ServiceId,
  changes: Partial<ServiceOptions> = {},
): ServiceOptions {
  const netmask = hostNetmask(id.address.family)
  return { scheduler: 'wlc', flags: 0, persistentSec: 0, netmask, engine: '', ...changes }
}

export const PLAIN: DestinationOptions = {
  method: 'masquerade',
  weight: 1,
  upperThreshold: 0,
  lowerThreshold: 0,
  tunnel: PLAIN_TUNNEL,
}

export function addService(id: ServiceId, changes: Partial<ServiceOptions> = {}): PublicCommand {
  return { kind: 'addService', service: id, options: serviceOptions(id, changes) }
}

export function addDestination(
  service: ServiceId,
  address: string,
  changes: Partial<DestinationOptions> = {},
  port = 80,
): PublicCommand {
  const options = { ...PLAIN, ...changes }
  return { kind: 'addDestination', service, destination: { address: ip(address), port }, options }
}

export function deleteDestination(service: ServiceId, address: string, port = 80): PublicCommand {
  return { kind: 'deleteDestination', service, destination: { address: ip(address), port } }
}

/** The configuration after commands that must all succeed. */
export function configOf(commands: readonly Command[], start = emptyConfig(CAPACITY)): Config {
  return commands.reduce((config, command) => {
    const result = apply(config, command)
    if (!result.ok) throw result.error
    return result.value
  }, start)
}

/** The code a command is refused with; undefined when it is accepted. */
export function refusal(config: Config, command: Command): string | undefined {
  const result = apply(config, command)
  return result.ok ? undefined : result.error.code
}

export function serviceIn(config: Config, id: ServiceId) {
  const service = config.services.get(serviceKey(id))
  if (service === undefined) throw new Error(`no service ${serviceKey(id)}`)
  return service
}
