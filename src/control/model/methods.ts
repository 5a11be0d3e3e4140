/** Which forwarding methods the flags of a service leave to its destinations. */
import { destinationKey } from './destination.js'
import { failure, success } from './errors.js'
import type { Result } from './errors.js'
import { SERVICE_FLAGS, serviceKey } from './service.js'
import type { Service } from './service.js'
import { checkSynproxy } from './synproxy.js'

/** NOT_SUPPORTED: a service that has a flag and a destination whose method does not go with it. */
export function checkMethods(
  service: Pick<Service, 'id' | 'flags' | 'engine' | 'destinations'>,
): Result<null> {
  const synproxy = checkSynproxy(service)
  return synproxy.ok ? checkOnePacket(service) : synproxy
}

/** A FULLNAT reply finds its client by the connection only, which would be gone. */
function checkOnePacket({
  id,
  flags,
  destinations,
}: Pick<Service, 'id' | 'flags' | 'destinations'>): Result<null> {
  if ((flags & SERVICE_FLAGS.ONE_PACKET) === 0) return success(null)
  const odd = destinations.find(({ method }) => method === 'fullnat')
  if (odd === undefined) return success(null)
  return failure(
    'NOT_SUPPORTED',
    'one-packet scheduling keeps no connection by which replies of FULLNAT find their client, ' +
      `but ${destinationKey(odd)} of ${serviceKey(id)} is reached by FULLNAT: give it another ` +
      'method, or take -o off the service',
  )
}
