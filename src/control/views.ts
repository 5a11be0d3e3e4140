/** The director's state as the API shows it. Pure. */
import type { DestinationView, PortView, RatesView, ServiceView, StatsView } from './api/views.js'
import type {
  LoadReader,
  PortCounters,
  TrafficBook,
  TrafficCounters,
  TrafficReading,
} from './dataplane-port.js'
import type { Destination } from './model/destination.js'
import type { Service } from './model/service.js'

function statsView(t: TrafficCounters): StatsView {
  return {
    connections: String(t.connections),
    inPackets: String(t.inPackets),
    outPackets: String(t.outPackets),
    inBytes: String(t.inBytes),
    outBytes: String(t.outBytes),
  }
}

function ratesView(t: TrafficCounters): RatesView {
  return {
    connections: Number(t.connections),
    inPackets: Number(t.inPackets),
    outPackets: Number(t.outPackets),
    inBytes: Number(t.inBytes),
    outBytes: Number(t.outBytes),
  }
}

/** What went through one port. */
export function portView(name: string, counters: PortCounters): PortView {
  return {
    name,
    rxFrames: String(counters.rxFrames),
    txFrames: String(counters.txFrames),
    rxBytes: String(counters.rxBytes),
    txBytes: String(counters.txBytes),
  }
}

/** Counters and rates of one object. */
export function trafficView(reading: TrafficReading): { stats: StatsView; rates: RatesView } {
  return { stats: statsView(reading.stats()), rates: ratesView(reading.rates()) }
}

/** A service with loads, counters and rates, destinations newest first. */
export function serviceView(service: Service, rates: TrafficBook, loads: LoadReader): ServiceView {
  const { id, scheduler, flags, persistentSec, netmask, engine, proxyProtocol } = service
  return {
    protocol: id.protocol,
    address: id.address.text,
    port: id.port,
    fwmark: id.fwmark,
    scheduler,
    flags,
    persistentSec,
    netmask,
    engine,
    localAddresses: service.localAddresses.map((address) => address.text),
    ...(proxyProtocol === 'off' ? {} : { proxyProtocol }),
    ...trafficView(rates.service(service)),
    destinations: service.destinations.map((d) => destinationView(d, rates, loads)),
  }
}

function destinationView(d: Destination, rates: TrafficBook, loads: LoadReader): DestinationView {
  const { active, inactive, persistent } = loads.destination(d.slot)
  return {
    address: d.address.text,
    port: d.port,
    method: d.method,
    weight: d.weight,
    upperThreshold: d.upperThreshold,
    lowerThreshold: d.lowerThreshold,
    tunnel: d.tunnel,
    active,
    inactive,
    persistent,
    ...trafficView(rates.destination(d)),
  }
}
