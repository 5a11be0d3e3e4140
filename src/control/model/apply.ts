/**
 * (config, command) -> config or error. Pure. Checks and error codes follow the order of the kernel
 * (spec 1.3, 1.4); a refused command leaves no trace.
 */
import { sameAddress } from './address.js'
import type { Address } from './address.js'
import type { Command } from './commands.js'
import { findService, withService } from './config.js'
import type { Config, Timeouts } from './config.js'
import { addDestination, deleteDestination, editDestination } from './apply-destination.js'
import { addMarkRules, deleteMarkRules, replaceMarkRules } from './apply-marks.js'
import { defend } from './defence.js'
import { failure, success } from './errors.js'
import type { Result } from './errors.js'
import { maglevSlots } from './maglev-size.js'
import { checkProxyProtocol, UOA_TRAIL_MAX } from './fullnat.js'
import type { FullnatSettings } from './fullnat.js'
import { checkMethods } from './methods.js'
import { ENGINES, isPersistent, isScheduler, SERVICE_FLAGS, serviceKey } from './service.js'
import type { Service, ServiceId, ServiceOptions, SchedulerName } from './service.js'
import { takeSlot } from './slots.js'
import { startDaemon, stopDaemon } from './sync-daemon.js'
import { setSysctl } from './sysctls.js'
import { forgetPasts, pastOf } from './past.js'
import { reapTrash, trashDestinations } from './trash.js'

const ALL_FLAGS = 0xffffffff

/**
 * Longest timeout the kernel takes: INT_MAX ticks (spec 3.6.3), of 4 ms in the kernels of
 * distributions. It is more than the 31 days that ipvsadm takes.
 */
const TIMEOUT_MAX_SEC = Math.floor(0x7fffffff / 250)

/** The configuration after `command`, or why it was refused. */
export function apply(config: Config, command: Command): Result<Config> {
  switch (command.kind) {
    case 'addService':
      return addService(config, command.service, command.options)
    case 'editService':
      return editService(config, command.service, command.options, command.flagsMask)
    case 'deleteService':
      return withKnown(config, command.service, (service) =>
        success(removeService(config, service)),
      )
    case 'flush':
      return success([...config.services.values()].reduce(removeService, config))
    case 'addDestination':
      return withKnown(config, command.service, (service) =>
        addDestination(config, service, command.destination, command.options),
      )
    case 'editDestination':
      return withKnown(config, command.service, (service) =>
        editDestination(config, service, command.destination, command.options),
      )
    case 'deleteDestination':
      return withKnown(config, command.service, (service) =>
        deleteDestination(config, service, command.destination),
      )
    case 'zero':
      return command.service === undefined
        ? success(config)
        : withKnown(config, command.service, () => success(config))
    case 'setTimeouts':
      return setTimeouts(config, command.timeouts)
    case 'addLocalAddress':
      return withKnown(config, command.service, (service) =>
        addLocalAddress(config, service, command.address),
      )
    case 'deleteLocalAddress':
      return withKnown(config, command.service, (service) =>
        deleteLocalAddress(config, service, command.address),
      )
    case 'setSysctl': {
      const sysctls = setSysctl(config.sysctls, command.name, command.value)
      return sysctls.ok ? success({ ...config, sysctls: sysctls.value }) : sysctls
    }
    case 'setFullnat':
      return setFullnat(config, command.fullnat)
    case 'setDefaultLocalAddresses':
      return setDefaultLocalAddresses(config, command.addresses)
    case 'startDaemon':
      return startDaemon(config, command.daemon, command.mtu)
    case 'stopDaemon':
      return stopDaemon(config, command.role)
    case 'addMarkRules':
      return addMarkRules(config, command.rules)
    case 'deleteMarkRules':
      return deleteMarkRules(config, command.rules)
    case 'replaceMarkRules':
      return replaceMarkRules(config, command.families, command.rules)
    case 'reap':
      return success(reapTrash(config, command.nowMs, command.slotsInUse))
    case 'forget':
      return success(forgetPasts(command.lingers ? { ...config } : config, command.slotsInUse))
    case 'defend': {
      const { sysctls } = defend(config.sysctls, command.availablePages)
      return success(sysctls === config.sysctls ? config : { ...config, sysctls })
    }
  }
}

/** The configuration after all commands, or the first refusal. */
export function applyEvery(config: Config, commands: readonly Command[]): Result<Config> {
  let next = config
  for (const command of commands) {
    const result = apply(next, command)
    if (!result.ok) return result
    next = result.value
  }
  return success(next)
}

function withKnown(
  config: Config,
  id: ServiceId,
  then: (service: Service) => Result<Config>,
): Result<Config> {
  const service = findService(config, id)
  if (service !== undefined) return then(service)
  return failure('SERVICE_UNKNOWN', `there is no service ${serviceKey(id)}`)
}

/** Scheduler, engine and netmask; the same for add and edit. */
function checkServiceOptions(id: ServiceId, options: ServiceOptions): Result<SchedulerName> {
  if (!isScheduler(options.scheduler)) {
    return failure('SCHEDULER_UNKNOWN', `there is no scheduler "${options.scheduler}"`)
  }
  if (options.engine !== '' && !ENGINES.includes(options.engine)) {
    return failure('ENGINE_UNKNOWN', `there is no persistence engine "${options.engine}"`)
  }
  if (id.address.family === 6 && (options.netmask < 1 || options.netmask > 128)) {
    return failure('NETMASK_BAD', 'the prefix length of an IPv6 service is 1 to 128')
  }
  const proxy = checkProxyProtocol(id, options.proxyProtocol ?? 'off')
  if (!proxy.ok) return proxy
  return success(options.scheduler)
}

function addService(config: Config, id: ServiceId, options: ServiceOptions): Result<Config> {
  const key = serviceKey(id)
  if (config.services.has(key)) {
    return failure('SERVICE_EXISTS', `the service ${key} exists already`)
  }
  const scheduler = checkServiceOptions(id, options)
  if (!scheduler.ok) return scheduler
  const methods = checkMethods({
    id,
    flags: options.flags,
    engine: options.engine,
    destinations: [],
  })
  if (!methods.ok) return methods
  const taken = takeSlot(config.serviceSlots)
  if (taken === undefined) {
    return failure(
      'TABLE_FULL',
      `all ${config.serviceSlots.capacity} service slots are in use; delete a service first`,
    )
  }
  const service: Service = {
    ...options,
    id,
    scheduler: scheduler.value,
    flags: options.flags | SERVICE_FLAGS.HASHED,
    slot: taken.slot,
    incarnation: config.nextIncarnation,
    changes: config.nextIncarnation,
    proxyProtocol: options.proxyProtocol ?? 'off',
    localAddresses: [],
    destinations: [],
  }
  const next = withService(config, service)
  return success({ ...next, serviceSlots: taken.pool, nextIncarnation: service.incarnation + 1 })
}

function editService(
  config: Config,
  id: ServiceId,
  options: ServiceOptions,
  flagsMask = ALL_FLAGS,
): Result<Config> {
  return withKnown(config, id, (service) => {
    const scheduler = checkServiceOptions(id, options)
    if (!scheduler.ok) return scheduler
    const most = maglevSlots(config.maglevIndex)
    const startsMaglev = scheduler.value === 'mh' && service.scheduler !== 'mh'
    if (startsMaglev && service.destinations.length > most) {
      return failure(
        'DESTINATIONS_TOO_MANY',
        `mh starts with at most ${most} destinations: remove some of ${serviceKey(id)} first, or ` +
          'start uvs with a larger --mh-index',
      )
    }
    const wanted = (service.flags & ~flagsMask) | (options.flags & flagsMask)
    const flags = (wanted | SERVICE_FLAGS.HASHED) >>> 0
    const methods = checkMethods({ ...service, flags, engine: options.engine })
    if (!methods.ok) return methods
    const proxyProtocol = options.proxyProtocol ?? service.proxyProtocol
    const was = isPersistent(service)
    const chosen = { ...options, scheduler: scheduler.value, flags, proxyProtocol }
    const persistent = isPersistent(chosen)
    const destinations =
      was === persistent
        ? service.destinations
        : service.destinations.map((one) => {
            const { method, past } = one
            return {
              ...one,
              past: pastOf(past, { methods: [], persistent: was }, { method, persistent }),
            }
          })
    return success(withService(config, { ...service, ...chosen, destinations }))
  })
}

function removeService(config: Config, service: Service): Config {
  const services = config.services.without(serviceKey(service.id))
  const retiredServiceSlots = [...config.retiredServiceSlots, service.slot]
  return trashDestinations(
    { ...config, services, retiredServiceSlots },
    service,
    service.destinations,
  )
}

function setTimeouts(config: Config, wanted: Timeouts): Result<Config> {
  for (const sec of [wanted.tcpSec, wanted.tcpFinSec, wanted.udpSec]) {
    if (!Number.isInteger(sec) || sec < 0 || sec > TIMEOUT_MAX_SEC) {
      return failure('TIMEOUT_RANGE', `a timeout is 0 to ${TIMEOUT_MAX_SEC} seconds`)
    }
  }
  const { timeouts } = config
  return success({
    ...config,
    timeouts: {
      tcpSec: wanted.tcpSec || timeouts.tcpSec,
      tcpFinSec: wanted.tcpFinSec || timeouts.tcpFinSec,
      udpSec: wanted.udpSec || timeouts.udpSec,
    },
  })
}

function addLocalAddress(config: Config, service: Service, address: Address): Result<Config> {
  // An IPv6 service may reach IPv4 destinations, from IPv4 addresses.
  if (address.family === 6 && service.id.address.family === 4) {
    return failure(
      'LOCAL_ADDRESS_FAMILY',
      `${address.text} is not of the address family of ${serviceKey(service.id)}`,
    )
  }
  if (service.localAddresses.some((other) => sameAddress(other, address))) {
    return failure(
      'LOCAL_ADDRESS_EXISTS',
      `${serviceKey(service.id)} has the local address ${address.text} already`,
    )
  }
  let used = 0
  for (const other of config.services.values()) used += other.localAddresses.length
  if (used >= config.localAddressCapacity) {
    return failure('TABLE_FULL', `all ${config.localAddressCapacity} local addresses are in use`)
  }
  return success(
    withService(config, { ...service, localAddresses: [...service.localAddresses, address] }),
  )
}

function deleteLocalAddress(config: Config, service: Service, address: Address): Result<Config> {
  const localAddresses = service.localAddresses.filter((other) => !sameAddress(other, address))
  if (localAddresses.length === service.localAddresses.length) {
    return failure(
      'LOCAL_ADDRESS_UNKNOWN',
      `${serviceKey(service.id)} has no local address ${address.text}`,
    )
  }
  return success(withService(config, { ...service, localAddresses }))
}

function setFullnat(config: Config, wanted: Partial<FullnatSettings>): Result<Config> {
  const fullnat = { ...config.fullnat, ...wanted }
  const { uoaTrail } = fullnat
  if (!Number.isInteger(uoaTrail) || uoaTrail < 0 || uoaTrail > UOA_TRAIL_MAX) {
    return failure('REQUEST_BAD', `uoaTrail is 0 to ${UOA_TRAIL_MAX} datagrams`)
  }
  return success({ ...config, fullnat })
}

function setDefaultLocalAddresses(config: Config, addresses: readonly Address[]): Result<Config> {
  if (addresses.length > config.localAddressCapacity) {
    return failure('TABLE_FULL', `at most ${config.localAddressCapacity} local addresses`)
  }
  return success({ ...config, defaultLocalAddresses: addresses })
}
