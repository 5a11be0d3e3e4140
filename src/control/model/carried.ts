/** What a configuration may say and this data plane cannot carry out. Pure. */
import type { Config } from './config.js'
import type { Destination } from './destination.js'
import { ControlError } from './errors.js'
import { serviceKey } from './service.js'

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
