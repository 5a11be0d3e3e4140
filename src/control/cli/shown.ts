/** Views of the API turned into what the tables need: parsed addresses and 64-bit counters. */
import type {
  ConnectionView,
  DestinationView,
  RatesView,
  ServiceView,
  StatsView,
} from '../api/views.js'
import { parseAddress } from '../model/address.js'
import type { Address } from '../model/address.js'
import { ControlError } from '../model/errors.js'
import type { ServiceId } from '../model/service.js'

export interface Traffic {
  readonly connections: bigint
  readonly inPackets: bigint
  readonly outPackets: bigint
  readonly inBytes: bigint
  readonly outBytes: bigint
}

export interface ShownDestination extends Omit<DestinationView, 'address' | 'stats' | 'rates'> {
  readonly address: Address
  readonly stats: Traffic
  readonly rates: Traffic
}

export interface ShownService extends Omit<
  ServiceView,
  'address' | 'stats' | 'rates' | 'destinations' | 'localAddresses'
> {
  readonly id: ServiceId
  readonly stats: Traffic
  readonly rates: Traffic
  readonly destinations: readonly ShownDestination[]
  readonly localAddresses: readonly Address[]
}

export interface ShownEndpoint {
  readonly address: Address
  readonly port: number
}

export interface ShownConnection extends Omit<
  ConnectionView,
  'client' | 'virtual' | 'destination'
> {
  readonly client: ShownEndpoint
  readonly virtual: ShownEndpoint
  readonly destination: ShownEndpoint
}

/** An address the daemon sent; anything else is a broken answer. */
export function receivedAddress(text: string): Address {
  const address = parseAddress(text)
  if (address === undefined) {
    throw new ControlError('REQUEST_BAD', `the daemon sent "${text}" where an address belongs`)
  }
  return address
}

function traffic(view: StatsView | RatesView): Traffic {
  return {
    connections: BigInt(view.connections),
    inPackets: BigInt(view.inPackets),
    outPackets: BigInt(view.outPackets),
    inBytes: BigInt(view.inBytes),
    outBytes: BigInt(view.outBytes),
  }
}

/** A destination with its addresses and counters parsed. */
export function shownDestination(view: DestinationView): ShownDestination {
  return {
    ...view,
    address: receivedAddress(view.address),
    stats: traffic(view.stats),
    rates: traffic(view.rates),
  }
}

/** A service with everything below it parsed. */
export function shownService(view: ServiceView): ShownService {
  const { protocol, address, port, fwmark } = view
  return {
    ...view,
    id: { protocol, address: receivedAddress(address), port, fwmark },
    stats: traffic(view.stats),
    rates: traffic(view.rates),
    destinations: view.destinations.map(shownDestination),
    localAddresses: view.localAddresses.map(receivedAddress),
  }
}

/** A row of the connection table with its ends parsed. */
export function shownConnection(view: ConnectionView): ShownConnection {
  const endpoint = (e: { address: string; port: number }) => ({
    address: receivedAddress(e.address),
    port: e.port,
  })
  return {
    ...view,
    client: endpoint(view.client),
    virtual: endpoint(view.virtual),
    destination: endpoint(view.destination),
  }
}
