/**
 * What the kernel's IPVS answers to setsockopt and getsockopt (spec 9.3; ip_vs_ctl.c,
 * do_ip_vs_set_ctl and do_ip_vs_get_ctl), with the director in its place. IPv4 only.
 */
import type { ServiceView } from '../api/views.js'
import type { Command } from '../model/commands.js'
import { findService } from '../model/config.js'
import type { Config } from '../model/config.js'
import type { Service } from '../model/service.js'
import { accept, ERRNO, refuse } from '../netlink/errno.js'
import type { WireResult } from '../netlink/errno.js'
import {
  destinationOptionsFromWire,
  destinationViewToWire,
  serviceIdFromWire,
  serviceOptionsFromWire,
  serviceViewToWire,
} from '../netlink/ipvs-model.js'
import type { WireServiceId } from '../netlink/ipvs-types.js'
import * as answers from '../netlink/legacy-answers.js'
import { GET_RANGE, SET_RANGE, unpackGet, unpackSet } from '../netlink/legacy-options.js'
import type { GetRequest, SetRequest } from '../netlink/legacy-options.js'
import { errnoOfOutcome, IPVS_MODULE_VERSION } from './answer.js'
import type { IpvsDirector } from './answer.js'
import { startOf, stopOf, wireDaemon } from './daemons.js'

/** Longest buffer of a getsockopt: every destination slot of a director, and some. */
const BUFFER_BYTES_MAX = 4 * 1024 * 1024

/** Carries out a setsockopt; 0 or a positive errno. */
export async function setOption(
  option: number,
  value: Uint8Array,
  isPrivileged: boolean,
  director: IpvsDirector,
): Promise<number> {
  if (option < SET_RANGE.first || option > SET_RANGE.last) return ERRNO.ENOPROTOOPT
  if (!isPrivileged) return ERRNO.EPERM
  const request = unpackSet(option, value)
  if (!request.ok) return request.errno
  const command = commandOf(request.value, director.config)
  if (!command.ok) return command.errno
  const [outcome] = await director.execute([command.value])
  return errnoOfOutcome(outcome)
}

/** The value of a getsockopt with a buffer of `length` bytes that begins with `input`. */
export function getOption(
  option: number,
  length: number,
  input: Uint8Array,
  isPrivileged: boolean,
  director: IpvsDirector,
): WireResult<Uint8Array> {
  if (option < GET_RANGE.first || option > GET_RANGE.last) return refuse('ENOPROTOOPT')
  if (!isPrivileged) return refuse('EPERM')
  if (length > BUFFER_BYTES_MAX) return refuse('EINVAL')
  const buffer = new Uint8Array(length)
  buffer.set(input.subarray(0, length))
  const request = unpackGet(option, buffer)
  return request.ok ? valueOf(request.value, director) : request
}

function commandOf(request: SetRequest, config: Config): WireResult<Command> {
  switch (request.option) {
    case 'flush':
      return accept({ kind: 'flush' })
    case 'setTimeouts':
      return accept({ kind: 'setTimeouts', timeouts: request.timeouts })
    case 'startDaemon':
      return startOf(request.daemon)
    case 'stopDaemon':
      return stopOf(request.daemon.state)
    case 'addService': {
      const id = serviceIdFromWire(request.service, true)
      if (!id.ok) return id
      const options = serviceOptionsFromWire(request.service, 0)
      return accept({ kind: 'addService', service: id.value, options })
    }
    case 'zero':
      if (request.service === undefined) return accept({ kind: 'zero' })
      return onService(request.service, config, ({ id }) => accept({ kind: 'zero', service: id }))
    default:
      return onService(request.service, config, (service) => commandOn(request, service))
  }
}

type OnService = Exclude<Extract<SetRequest, { service: object }>, { option: 'addService' }>

const DESTINATION_COMMAND = {
  addDestination: 'addDestination',
  setDestination: 'editDestination',
} as const

function commandOn(request: OnService, { id }: Service): WireResult<Command> {
  if (request.option === 'deleteService') return accept({ kind: 'deleteService', service: id })
  if (!('destination' in request)) {
    const options = serviceOptionsFromWire(request.service, 0)
    return accept({ kind: 'editService', service: id, options })
  }
  const { address, port } = request.destination
  const destination = { address, port }
  if (request.option === 'deleteDestination') {
    return accept({ kind: 'deleteDestination', service: id, destination })
  }
  const options = destinationOptionsFromWire(request.destination)
  if (!options.ok) return options
  const kind = DESTINATION_COMMAND[request.option]
  return accept({ kind, service: id, destination, options: options.value })
}

function onService<T>(
  wire: WireServiceId,
  config: Config,
  then: (service: Service) => WireResult<T>,
): WireResult<T> {
  const id = serviceIdFromWire(wire, false)
  if (!id.ok) return id
  const service = findService(config, id.value)
  return service === undefined ? refuse('ESRCH') : then(service)
}

/** IPv4 services in kernel order. */
function services(director: IpvsDirector): ServiceView[] {
  const all = director.services()
  return all.ok ? all.value.filter(({ address }) => !address.includes(':')) : []
}

function entryOf(view: ServiceView) {
  return { service: serviceViewToWire(view), destinations: view.destinations.length }
}

function valueOf(request: GetRequest, director: IpvsDirector): WireResult<Uint8Array> {
  const { tableSize, timeouts, daemons } = director.info()
  const info = { version: IPVS_MODULE_VERSION, tableSize }
  switch (request.option) {
    case 'version':
      return accept(answers.packVersion(info))
    case 'info':
      return accept(answers.packLegacyInfo({ ...info, services: services(director).length }))
    case 'timeouts':
      return accept(answers.packLegacyTimeouts(timeouts))
    case 'daemons':
      return accept(answers.packDaemons(daemons.map(wireDaemon)))
    case 'services':
      return accept(answers.packServices(request.room, services(director).map(entryOf)))
    case 'service':
      return onService(request.service, director.config, ({ id }) => {
        const views = director.services(id)
        return views.ok
          ? accept(answers.packServiceEntry(entryOf(views.value[0])))
          : refuse('ESRCH')
      })
    case 'destinations':
      return onService(request.service, director.config, ({ id }) => {
        const views = director.services(id)
        if (!views.ok) return refuse('ESRCH')
        const list = views.value[0].destinations.map(destinationViewToWire)
        return accept(answers.packDestinations(request.service, request.room, list))
      })
  }
}
