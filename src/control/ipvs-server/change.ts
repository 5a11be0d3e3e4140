/**
 * What a changing command of the family IPVS asks for, as a command of the model (spec 9.2). Pure.
 * The order of the checks is that of ip_vs_genl_set_cmd: service, does it exist, destination.
 */
import type { Command } from '../model/commands.js'
import { findService } from '../model/config.js'
import type { Config } from '../model/config.js'
import type { Service } from '../model/service.js'
import { accept, refuse } from '../netlink/errno.js'
import type { WireResult } from '../netlink/errno.js'
import type { CommandName } from '../netlink/ipvs-attributes.js'
import {
  unpackDaemon,
  unpackDaemonStop,
  unpackDestination,
  unpackDestinationId,
  unpackService,
  unpackServiceId,
} from '../netlink/ipvs-messages.js'
import type { CommandAttributes } from '../netlink/ipvs-messages.js'
import {
  destinationOptionsFromWire,
  serviceIdFromWire,
  serviceOptionsFromWire,
} from '../netlink/ipvs-model.js'
import { startOf, stopOf } from './daemons.js'

/** Commands that change something. */
export type ChangeName = Exclude<
  CommandName,
  'getService' | 'getDestination' | 'getDaemon' | 'getConfig' | 'getInfo' | 'setInfo'
>

/** The change, or the errno of what the request itself lacks. */
export function changeOf(
  name: ChangeName,
  attributes: CommandAttributes,
  config: Config,
): WireResult<Command> {
  switch (name) {
    case 'flush':
      return accept({ kind: 'flush' })
    case 'setConfig':
      return accept({ kind: 'setTimeouts', timeouts: attributes.timeouts })
    case 'newDaemon': {
      const wire = unpackDaemon(attributes.daemon)
      return wire.ok ? startOf(wire.value) : wire
    }
    case 'deleteDaemon': {
      const state = unpackDaemonStop(attributes.daemon)
      return state.ok ? stopOf(state.value) : state
    }
    case 'newService':
      return newService(attributes)
    case 'setService':
      return setService(attributes, config)
    case 'zero':
      if (attributes.service === undefined) return accept({ kind: 'zero' })
      return onService(attributes, config, ({ id }) => accept({ kind: 'zero', service: id }))
    case 'deleteService':
      return onService(attributes, config, ({ id }) =>
        accept({ kind: 'deleteService', service: id }),
      )
    case 'newDestination':
      return withDestination('addDestination', attributes, config)
    case 'setDestination':
      return withDestination('editDestination', attributes, config)
    case 'deleteDestination':
      return onService(attributes, config, ({ id }) => {
        const wire = unpackDestinationId(attributes.destination, id.address.family)
        if (!wire.ok) return wire
        return accept({ kind: 'deleteDestination', service: id, destination: wire.value })
      })
  }
}

/** The service that the SERVICE attribute names; ESRCH when there is none. */
export function knownService(
  container: Uint8Array | undefined,
  config: Config,
): WireResult<Service> {
  const wire = unpackServiceId(container)
  if (!wire.ok) return wire
  const id = serviceIdFromWire(wire.value, false)
  if (!id.ok) return id
  const service = findService(config, id.value)
  return service === undefined ? refuse('ESRCH') : accept(service)
}

function onService(
  attributes: CommandAttributes,
  config: Config,
  then: (service: Service) => WireResult<Command>,
): WireResult<Command> {
  const service = knownService(attributes.service, config)
  return service.ok ? then(service.value) : service
}

function newService(attributes: CommandAttributes): WireResult<Command> {
  const wire = unpackService(attributes.service)
  if (!wire.ok) return wire
  const id = serviceIdFromWire(wire.value, true)
  if (!id.ok) return id
  const options = serviceOptionsFromWire(wire.value, 0)
  return accept({ kind: 'addService', service: id.value, options })
}

/** An incomplete record is refused before it is asked whether the service exists. */
function setService(attributes: CommandAttributes, config: Config): WireResult<Command> {
  const wire = unpackService(attributes.service)
  if (!wire.ok) return wire
  return onService(attributes, config, ({ id }) => {
    const options = serviceOptionsFromWire(wire.value, 0)
    // Which flags stay is decided when the change is made: others may be under way.
    return accept({ kind: 'editService', service: id, options, flagsMask: wire.value.flagsMask })
  })
}

function withDestination(
  kind: 'addDestination' | 'editDestination',
  attributes: CommandAttributes,
  config: Config,
): WireResult<Command> {
  return onService(attributes, config, ({ id }) => {
    const wire = unpackDestination(attributes.destination, id.address.family)
    if (!wire.ok) return wire
    const { address, port } = wire.value
    const options = destinationOptionsFromWire(wire.value)
    if (!options.ok) return options
    const destination = { address, port }
    return accept({ kind, service: id, destination, options: options.value })
  })
}
