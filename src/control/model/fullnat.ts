/** How FULLNAT tells destinations who their client is (spec 12.6, 12.7, 12.10, 12.11). */
import { failure, success } from './errors.js'
import type { Result } from './errors.js'
import type { ServiceId } from './service.js'

/** PROXY protocol of a service in DPVS' words; `insecure`: a client's own header is believed. */
export const PROXY_PROTOCOLS = ['off', 'v1', 'v2', 'v1-insecure', 'v2-insecure'] as const
export type ProxyProtocol = (typeof PROXY_PROTOCOLS)[number]

/** How UDP says it: a header between IP and UDP, or an IPv4 option. */
export const UOA_FORMS = ['opp', 'ipo'] as const
export type UoaForm = (typeof UOA_FORMS)[number]

/** What is the same for all services. */
export interface FullnatSettings {
  /** TCP: the client address in option 254 of the first segments. */
  readonly toa: boolean
  /** First sequence numbers that grow, whoever the client is. */
  readonly randomIsn: boolean
  readonly uoa: UoaForm
  /**
   * Datagrams of a connection that carry the client address; 0: none, unlike DPVS: a server that
   * does not know UOA cannot read such a datagram at all.
   */
  readonly uoaTrail: number
}

export const FULLNAT_DEFAULTS: FullnatSettings = {
  toa: true,
  randomIsn: true,
  uoa: 'opp',
  uoaTrail: 0,
}

/** Most datagrams of a connection that may carry the client address (layout.ts, UOA_TRAIL). */
export const UOA_TRAIL_MAX = 16

/** Version 1 is a line of text, and so for streams only. */
export function checkProxyProtocol(id: ServiceId, proxy: ProxyProtocol): Result<null> {
  if (id.fwmark === 0 && id.protocol === 'udp' && proxy.startsWith('v1')) {
    return failure(
      'PROXY_PROTOCOL_BAD',
      'version 1 of the PROXY protocol is for TCP: use v2 for a UDP service',
    )
  }
  if (id.fwmark === 0 && id.protocol === 'sctp' && proxy !== 'off') {
    return failure('PROXY_PROTOCOL_BAD', 'the PROXY protocol has no form for SCTP')
  }
  return success(null)
}
