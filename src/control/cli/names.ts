/** How addresses and ports are written: in numbers, or as names where there are any (spec 10.7). */
import { formatEndpoint } from '../model/address.js'
import type { Address } from '../model/address.js'
import type { Resolver } from './resolver.js'

/** Text of `address:port`; `protocol` (tcp, udp, sctp) decides which service names apply. */
export type EndpointText = (address: Address, port: number, protocol: string) => string

/** In numbers, as with -n. */
export const numericText: EndpointText = (address, port) => formatEndpoint(address, port)

/** Looks up every address once, a few at a time, and returns a writer that uses the answers. */
export async function namedText(
  addresses: Iterable<Address>,
  resolver: Resolver,
): Promise<EndpointText> {
  const hosts = new Map<string, string>()
  const wanted = [...new Map([...addresses].map((a) => [a.text, a])).values()]
  const lookUp = async () => {
    for (let address = wanted.pop(); address !== undefined; address = wanted.pop()) {
      hosts.set(address.text, (await resolver.hostName(address)) ?? address.text)
    }
  }
  await Promise.all(Array.from({ length: PARALLEL_LOOKUPS }, lookUp))
  return (address, port, protocol) => {
    const host = hosts.get(address.text) ?? address.text
    const service = resolver.serviceName(port, protocol) ?? String(port)
    return address.family === 6 ? `[${host}]:${service}` : `${host}:${service}`
  }
}

/** As many as the name resolution threads of the runtime. */
const PARALLEL_LOOKUPS = 4
