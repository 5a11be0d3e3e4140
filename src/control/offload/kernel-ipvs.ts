/** The kernel's IPVS as an object: one method for each thing it can be asked or told. */
import { readFileSync } from 'node:fs'
import type { Timeouts } from '../model/config.js'
import type { ServiceId } from '../model/service.js'
import type { DaemonOptions, DaemonRole, SyncDaemon } from '../model/sync-daemon.js'
import {
  destinationIdToWire,
  destinationOptionsToWire,
  serviceIdToWire,
  serviceOptionsToWire,
} from '../netlink/ipvs-model.js'
import {
  NO_ATTRIBUTES,
  packDaemonRequest,
  packDestinationRequest,
  packServiceRequest,
  packTimeouts,
  unpackCommand,
  unpackDaemonReply,
  unpackDestinationReply,
  unpackInfo,
  unpackServiceReply,
} from '../netlink/ipvs-messages.js'
import { DAEMON_STATE } from '../netlink/ipvs-types.js'
import type { WireDaemon, WireDestination, WireInfo, WireStats } from '../netlink/ipvs-types.js'
import type { WireService } from '../netlink/ipvs-types.js'
import { broken, IpvsChannel } from './ipvs-channel.js'
import { parseTotal } from './proc-stats.js'
import { kernelService } from './kernel-state.js'
import type { KernelService, KernelState } from './kernel-state.js'
import type { Operation } from './plan.js'

/** See the top of this file. Every method may throw KernelRefusal. */
export class KernelIpvs {
  readonly #channel: IpvsChannel

  private constructor(channel: IpvsChannel) {
    this.#channel = channel
  }

  /** Undefined where the kernel has none. */
  static open(): KernelIpvs | undefined {
    const channel = IpvsChannel.open()
    return channel === undefined ? undefined : new KernelIpvs(channel)
  }

  close(): void {
    this.#channel.close()
  }

  info(): WireInfo {
    return whole(unpackInfo(this.#channel.ask('getInfo', NO_ATTRIBUTES)[0] ?? NO_ATTRIBUTES))
  }

  /** Everything but connections. Not one instant: services are listed one after the other. */
  read(): KernelState {
    const services = new Map<string, KernelService>()
    let strange = 0
    for (const attributes of this.#channel.ask('getService', NO_ATTRIBUTES, true)) {
      const wire = whole(unpackServiceReply(whole(unpackCommand(attributes)).service))
      const listed = kernelService(wire, this.#destinations(wire))
      if (listed === undefined) strange++
      else services.set(...listed)
    }
    return { services, strange, daemons: this.#daemons(), timeouts: this.#timeouts() }
  }

  #destinations(service: WireService): WireDestination[] {
    const answers = this.#channel.ask('getDestination', packServiceRequest(service), true)
    return answers.map((attributes) =>
      whole(unpackDestinationReply(whole(unpackCommand(attributes)).destination, service.family)),
    )
  }

  #daemons(): SyncDaemon[] {
    return this.#channel
      .ask('getDaemon', NO_ATTRIBUTES, true)
      .map((attributes) =>
        daemonFromWire(whole(unpackDaemonReply(whole(unpackCommand(attributes)).daemon))),
      )
  }

  #timeouts(): Timeouts {
    return whole(unpackCommand(this.#channel.ask('getConfig', NO_ATTRIBUTES)[0])).timeouts
  }

  /** Counters and rates of everything in this network namespace. */
  total(): WireStats {
    return parseTotal(readFileSync('/proc/net/ip_vs_stats', 'utf8'))
  }

  /** One service with its destinations, or everything in this network namespace. */
  zero(id: ServiceId | undefined): void {
    const attributes = id === undefined ? NO_ATTRIBUTES : packServiceRequest(serviceIdToWire(id))
    this.#channel.ask('zero', attributes)
  }

  /** Carries out one step of a plan. */
  perform(operation: Operation): void {
    const channel = this.#channel
    switch (operation.kind) {
      case 'newService':
      case 'setService': {
        const options = serviceOptionsToWire(operation.options)
        const id = serviceIdToWire(operation.service)
        return void channel.ask(operation.kind, packServiceRequest(id, options))
      }
      case 'deleteService': {
        const id = serviceIdToWire(operation.service)
        return void channel.ask(operation.kind, packServiceRequest(id))
      }
      case 'newDestination':
      case 'setDestination': {
        const options = destinationOptionsToWire(operation.options)
        const request = packDestinationRequest(
          serviceIdToWire(operation.service),
          destinationIdToWire(operation.destination),
          options,
        )
        return void channel.ask(operation.kind, request)
      }
      case 'deleteDestination': {
        const request = packDestinationRequest(
          serviceIdToWire(operation.service),
          destinationIdToWire(operation.destination),
        )
        return void channel.ask(operation.kind, request)
      }
      case 'newDaemon':
        return void channel.ask(operation.kind, packDaemonRequest(daemonToWire(operation.daemon)))
      case 'deleteDaemon':
        return void channel.ask(operation.kind, packDaemonRequest(daemonId(operation.role)))
      case 'setTimeouts':
        return void channel.ask('setConfig', packTimeouts(operation.timeouts))
    }
  }
}

/** What the kernel answered must be whole: an incomplete answer is a broken kernel interface. */
function whole<T>(result: { ok: true; value: T } | { ok: false }): T {
  if (result.ok) return result.value
  throw broken('an incomplete answer')
}

function daemonToWire(daemon: DaemonOptions): WireDaemon {
  return { ...daemon, state: DAEMON_STATE[daemon.role] }
}

function daemonId(role: DaemonRole): WireDaemon {
  const none = { interface: '', syncId: 0, maxLength: 0, group: undefined, port: 0, ttl: 0 }
  return { ...none, state: DAEMON_STATE[role] }
}

function daemonFromWire(wire: WireDaemon): SyncDaemon {
  const { state, group, ...rest } = wire
  if (group === undefined) throw broken('a daemon without its group')
  return { ...rest, group, role: state === DAEMON_STATE.master ? 'master' : 'backup' }
}
