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
import { idleSettings } from './sysctls.js'

/** Who forwards: packet workers, with or without a link layer, or the kernel. */
export type Carrier = 'af_packet' | 'tun' | 'kernel'

/** The first thing in `config` that `carrier` does not forward, as a refusal; else undefined. */
export function refusalOf(config: Config, carrier: Carrier): ControlError | undefined {
  if (carrier === 'kernel' && config.markRules.length > 0) {
    return new ControlError(
      'NOT_SUPPORTED',
      "with --offload the kernel's own rules set marks: load these with iptables-restore or nft " +
        '("uvs mark save" prints them), or run without --offload',
    )
  }
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
  const { destinations } = service
  for (const destination of destinations) {
    const why = uncarried(destination, io)
    if (why !== undefined) return new ControlError('DATAPLANE_FAILED', why)
  }
  return undefined
}

function uncarried({ method, address }: Destination, io: 'af_packet' | 'tun'): string | undefined {
  if (method === 'direct' && io === 'tun') {
    return `direct routing to ${address.text} needs a link layer: use --io af_packet, or -m or -i`
  }
  return undefined
}

/**
 * A sentence for each thing in `after`, new since `before`, that workers keep and show only.
 * `ports` are the names of the interfaces that packets come from.
 */
export function idleSentences(
  before: Config | undefined,
  after: Config,
  ports: readonly string[],
): string[] {
  const { sysctls, sysctlDefaults: defaults } = after
  const settings = idleSettings(before?.sysctls ?? defaults, sysctls, defaults).map((name) => {
    const value = String(sysctls[name]).replace(',', ' ')
    return `${name}=${value} is accepted but has no effect yet`
  })
  const daemons = after.daemons
    .filter((daemon) => !(before?.daemons.includes(daemon) ?? false))
    .map(({ role }) => `the ${role} daemon is shown, but connections are not synchronised yet`)
  const interfaces = strangeInterfaces(after, ports)
    .filter((name) => before === undefined || !strangeInterfaces(before, ports).includes(name))
    .map((name) => `mark rules name the interface ${name}, but packets come from ${ports.join()}`)
  return [...settings, ...daemons, ...interfaces]
}

/** Names in mark rules that are no port: nothing ever comes from there. */
function strangeInterfaces({ markRules }: Config, ports: readonly string[]): string[] {
  const names = markRules.flatMap(({ interface: named }) => (named === undefined ? [] : [named.is]))
  const known = (name: string) =>
    ports.some((port) => (name.endsWith('+') ? port.startsWith(name.slice(0, -1)) : port === name))
  return [...new Set(names)].filter((name) => name !== 'lo' && !known(name))
}
