/** Where SYNPROXY is possible (spec 12.9): who answers for a server must see both directions. */
import { destinationKey } from './destination.js'
import type { Destination } from './destination.js'
import { failure, success } from './errors.js'
import type { Result } from './errors.js'
import { SERVICE_FLAGS, serviceKey } from './service.js'
import type { Service } from './service.js'

/** NOT_SUPPORTED: a service with the flag that is not TCP, or has destinations of other methods. */
export function checkSynproxy(
  service: Pick<Service, 'id' | 'flags' | 'engine' | 'destinations'>,
): Result<null> {
  const { id, flags, engine, destinations } = service
  if ((flags & SERVICE_FLAGS.SYNPROXY) === 0) return success(null)
  if (id.fwmark === 0 && id.protocol !== 'tcp') {
    return failure('NOT_SUPPORTED', `SYNPROXY is for TCP services, which ${serviceKey(id)} is not`)
  }
  if (engine !== '') {
    return failure(
      'NOT_SUPPORTED',
      `${serviceKey(id)} has the engine ${engine}, which reads UDP; SYNPROXY is for TCP`,
    )
  }
  const odd = destinations.find((one) => !seesBothDirections(one))
  if (odd === undefined) return success(null)
  return failure(
    'NOT_SUPPORTED',
    `SYNPROXY needs NAT or FULLNAT, but ${destinationKey(odd)} of ${serviceKey(id)} is reached ` +
      `by ${METHOD_WORDS[odd.method]}: give it -m or -b, or the service -j disable`,
  )
}

const METHOD_WORDS = {
  masquerade: 'NAT',
  fullnat: 'FULLNAT',
  direct: 'direct routing',
  tunnel: 'a tunnel',
  local: 'the local node',
} as const

function seesBothDirections({ method }: Destination): boolean {
  return method === 'masquerade' || method === 'fullnat'
}
