/**
 * Names of hosts and ports, both ways. The interface is what the pure parts use; the system
 * resolver asks the host's own databases (/etc/services, /etc/hosts, DNS), as ipvsadm does.
 */
import { readFileSync } from 'node:fs'
import { lookup, lookupService } from 'node:dns/promises'
import type { Address } from '../model/address.js'
import { parseAddress } from '../model/address.js'

export interface Resolver {
  /** IPv4 address of a host name. */
  hostAddress(name: string): Promise<Address | undefined>
  /** Host name of an address. */
  hostName(address: Address): Promise<string | undefined>
  /** Port of a service name; `protocol` is tcp, udp or sctp. */
  servicePort(name: string, protocol: string): number | undefined
  /** Service name of a port. */
  serviceName(port: number, protocol: string): string | undefined
}

/** The services database: both directions, first entry wins, aliases count for name -> port. */
export interface ServiceNames {
  readonly ports: ReadonlyMap<string, number>
  readonly names: ReadonlyMap<string, string>
}

/** Reads the text of /etc/services (services(5)). */
export function parseServices(text: string): ServiceNames {
  const ports = new Map<string, number>()
  const names = new Map<string, string>()
  for (const line of text.split('\n')) {
    const [name, spec, ...aliases] = line.replace(/#.*/, '').trim().split(/\s+/)
    const match = /^(\d+)\/(\w+)$/.exec(spec ?? '')
    if (match === null) continue
    const [, port, protocol] = match
    for (const key of [name, ...aliases]) {
      if (!ports.has(`${key}/${protocol}`)) ports.set(`${key}/${protocol}`, Number(port))
    }
    if (!names.has(spec)) names.set(spec, name)
  }
  return { ports, names }
}

/** The host's own databases. Answers about hosts are remembered for the life of the object. */
export function systemResolver(servicesFile = '/etc/services'): Resolver {
  let services: ServiceNames | undefined
  const known = new Map<string, Promise<string | undefined>>()

  function serviceNames(): ServiceNames {
    if (services === undefined) {
      let text = ''
      try {
        text = readFileSync(servicesFile, 'utf8')
      } catch {
        // Without the database ports simply have no names, as with getservbyname.
      }
      services = parseServices(text)
    }
    return services
  }

  return {
    async hostAddress(name) {
      try {
        return parseAddress((await lookup(name, { family: 4 })).address)
      } catch {
        return undefined
      }
    },
    hostName(address) {
      let answer = known.get(address.text)
      if (answer === undefined) {
        answer = lookupService(address.text, 0).then(
          ({ hostname }) => (hostname === address.text ? undefined : hostname),
          () => undefined,
        )
        known.set(address.text, answer)
      }
      return answer
    },
    servicePort: (name, protocol) => serviceNames().ports.get(`${name}/${protocol}`),
    serviceName: (port, protocol) => serviceNames().names.get(`${port}/${protocol}`),
  }
}
