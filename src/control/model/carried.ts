/**
 * What a configuration may say and a data plane cannot carry out: the packet workers with each kind
 * of I/O, or the kernel's own IPVS. Pure.
 */
import type { Config } from './config.js'
import { destinationKey } from './destination.js'
import type { Destination } from './destination.js'
import { ControlError } from './errors.js'
import { SERVICE_FLAGS, serviceKey } from './service.js'
import type { Service } from './service.js'
import { defaultSysctls, idleSettings } from './sysctls.js'

/** Who forwards: packet workers, with or without a link layer, or the kernel. */
export type Carrier = 'af_packet' | 'tun' | 'kernel'

const KERNEL_ONLY_SCHEDULERS: readonly string[] = ['fo', 'ovf', 'mh', 'twos']

/** The first thing in `config` that `carrier` does not forward, as a refusal; else undefined. */
export function refusalOf(config: Config, carrier: Carrier): ControlError | undefined {
  for (const service of config.services.values()) {
    const refused =
      carrier === 'kernel' ? refusedByKernel(service) : refusedByWorkers(service, carrier)
    if (refused !== undefined) return refused
  }
  return undefined
}

/** What only the packet workers do. */
function refusedByKernel(service: Service): ControlError | undefined {
  const { id, destinations, localAddresses, proxyProtocol, flags } = service
  if ((flags & SERVICE_FLAGS.SYNPROXY) !== 0) {
    return new ControlError(
      'NOT_SUPPORTED',
      `the kernel's IPVS has no SYNPROXY (${serviceKey(id)}): FULLNAT, local addresses, TOA, ` +
        'PROXY protocol and SYNPROXY need the userspace dataplane, "uvs run" without --offload',
    )
  }
  const full = destinations.find(({ method }) => method === 'fullnat')
  const plain = localAddresses.length === 0 && proxyProtocol === 'off'
  if (full === undefined && plain) return undefined
  const what = full === undefined ? serviceKey(id) : destinationKey(full)
  return new ControlError(
    'NOT_SUPPORTED',
    `the kernel's IPVS has no FULLNAT (${what}): FULLNAT, local addresses, TOA, PROXY protocol ` +
      'and SYNPROXY need the userspace dataplane, "uvs run" without --offload',
  )
}

function refusedByWorkers(service: Service, io: 'af_packet' | 'tun'): ControlError | undefined {
  const { id, scheduler, engine, destinations } = service
  if (id.protocol === 'sctp' && id.fwmark === 0) {
    return new ControlError(
      'NOT_SUPPORTED',
      'SCTP services are not supported by this version of uvs',
    )
  }
  if (KERNEL_ONLY_SCHEDULERS.includes(scheduler)) {
    return new ControlError('SCHEDULER_UNKNOWN', `there is no scheduler "${scheduler}" here yet`)
  }
  if (engine !== '') {
    return new ControlError('ENGINE_UNKNOWN', `there is no persistence engine "${engine}" here yet`)
  }
  for (const destination of destinations) {
    const why = uncarried(destination, io)
    if (why !== undefined) return new ControlError('DATAPLANE_FAILED', why)
  }
  return undefined
}

function uncarried(
  { method, tunnel, address }: Destination,
  io: 'af_packet' | 'tun',
): string | undefined {
  if (method === 'direct' && io === 'tun') {
    return `direct routing to ${address.text} needs a link layer: use --io af_packet, or -m or -i`
  }
  if (method === 'tunnel' && tunnel.type !== 'ipip') {
    return `${tunnel.type} tunnels are not forwarded yet: use --tun-type ipip for ${address.text}`
  }
  return undefined
}

/** A sentence for each thing in `after`, new since `before`, that workers keep and show only. */
export function idleSentences(before: Config | undefined, after: Config): string[] {
  const settings = idleSettings(before?.sysctls ?? defaultSysctls(), after.sysctls).map((name) => {
    const value = String(after.sysctls[name]).replace(',', ' ')
    return `${name}=${value} is accepted but has no effect yet`
  })
  const daemons = after.daemons
    .filter((daemon) => !(before?.daemons.includes(daemon) ?? false))
    .map(({ role }) => `the ${role} daemon is shown, but connections are not synchronised yet`)
  return [...settings, ...daemons]
}
