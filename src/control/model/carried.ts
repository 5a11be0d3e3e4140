/** What a configuration may say and this data plane cannot carry out. Pure. */
import type { Config } from './config.js'
import type { Destination } from './destination.js'
import { ControlError } from './errors.js'
import { serviceKey } from './service.js'
import { defaultSysctls, idleSettings } from './sysctls.js'

/** How packets come in: with or without a link layer. */
export type PacketIo = 'af_packet' | 'tun'

/** The first thing in `config` that is not forwarded with `io`, as a refusal; else undefined. */
export function refusalOf(config: Config, io: PacketIo): ControlError | undefined {
  for (const { id, destinations } of config.services.values()) {
    if (id.protocol === 'sctp' && id.fwmark === 0) {
      return refusal(`SCTP services are not forwarded yet: use TCP or UDP, not ${serviceKey(id)}`)
    }
    for (const destination of destinations) {
      const why = uncarried(destination, io)
      if (why !== undefined) return refusal(why)
    }
  }
  return undefined
}

/** A sentence for each thing in `after`, new since `before`, that is kept and shown only. */
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

function uncarried({ method, tunnel, address }: Destination, io: PacketIo): string | undefined {
  if (method === 'direct' && io === 'tun') {
    return `direct routing to ${address.text} needs a link layer: use --io af_packet, or -m or -i`
  }
  if (method === 'tunnel' && tunnel.type !== 'ipip') {
    return `${tunnel.type} tunnels are not forwarded yet: use --tun-type ipip for ${address.text}`
  }
  return undefined
}

function refusal(message: string): ControlError {
  return new ControlError('DATAPLANE_FAILED', message)
}
