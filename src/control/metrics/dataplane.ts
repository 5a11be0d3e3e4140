/**
 * Data-plane metrics, read from the shared counters at the moment of the scrape. Counters count
 * from the creation of the service or destination; zeroing with ipvsadm -Z does not touch them.
 */
import { Counter, Gauge } from 'prom-client'
import type { Registry } from 'prom-client'
import type { DataplanePort, TrafficCounters } from '../dataplane-port.js'
import type { Config } from '../model/config.js'
import type { Destination } from '../model/destination.js'
import type { ServiceId, Service } from '../model/service.js'
import type { RateBook } from './rates.js'

export interface DataplaneMetricsOptions {
  readonly registry: Registry
  readonly port: DataplanePort
  readonly config: () => Config
  readonly rates: RateBook
}

const SERVICE_LABELS = ['protocol', 'address', 'port', 'fwmark', 'family'] as const
const DESTINATION_LABELS = [...SERVICE_LABELS, 'destination_address', 'destination_port'] as const

type Labels = Record<string, string>

/** Every label of a service is needed: marks of the two families are different services. */
function serviceLabels(id: ServiceId): Labels {
  return {
    protocol: id.fwmark === 0 ? id.protocol : '',
    address: id.fwmark === 0 ? id.address.text : '',
    port: id.fwmark === 0 ? String(id.port) : '',
    fwmark: id.fwmark === 0 ? '' : String(id.fwmark),
    family: id.address.family === 4 ? 'ipv4' : 'ipv6',
  }
}

function destinationLabels(id: ServiceId, destination: Destination): Labels {
  return {
    ...serviceLabels(id),
    destination_address: destination.address.text,
    destination_port: String(destination.port),
  }
}

const TRAFFIC: readonly (readonly [keyof TrafficCounters, string, string])[] = [
  ['connections', 'connections_total', 'Connections scheduled'],
  ['inPackets', 'in_packets_total', 'Packets from clients'],
  ['outPackets', 'out_packets_total', 'Packets to clients'],
  ['inBytes', 'in_bytes_total', 'IP bytes from clients'],
  ['outBytes', 'out_bytes_total', 'IP bytes to clients'],
]

/** Registers all data-plane metrics. */
export function registerDataplaneMetrics(options: DataplaneMetricsOptions): void {
  registerTraffic(options)
  registerLoads(options)
  registerWorkers(options)
  registerDrops(options)
}

function registerTraffic({ registry, port, config, rates }: DataplaneMetricsOptions): void {
  for (const [field, name, help] of TRAFFIC) {
    new Counter({
      name: `uvs_service_${name}`,
      help: `${help}, by service`,
      labelNames: SERVICE_LABELS,
      registers: [registry],
      collect() {
        this.reset()
        const counters = port.counters()
        for (const service of config().services.values()) {
          const since = rates.service(service).since(counters.service(service.slot))
          this.inc(serviceLabels(service.id), Number(since[field]))
        }
      },
    })
    new Counter({
      name: `uvs_destination_${name}`,
      help: `${help}, by destination`,
      labelNames: DESTINATION_LABELS,
      registers: [registry],
      collect() {
        this.reset()
        const counters = port.counters()
        eachDestination(config(), (service, destination) => {
          const raw = counters.destination(destination.slot)
          const since = rates.destination(destination).since(raw)
          this.inc(destinationLabels(service.id, destination), Number(since[field]))
        })
      },
    })
    new Counter({
      name: `uvs_${name}`,
      help: `${help}, in all`,
      registers: [registry],
      collect() {
        this.reset()
        this.inc(Number(port.counters().total()[field]))
      },
    })
  }
}

function eachDestination(
  config: Config,
  visit: (service: Service, destination: Destination) => void,
): void {
  for (const service of config.services.values()) {
    for (const destination of service.destinations) visit(service, destination)
  }
}

function registerLoads({ registry, port, config }: DataplaneMetricsOptions): void {
  const gauges: readonly (readonly [string, string, (d: Destination) => number])[] = [
    ['active_connections', 'Active connections', (d) => port.loads().destination(d.slot).active],
    [
      'inactive_connections',
      'Inactive connections',
      (d) => port.loads().destination(d.slot).inactive,
    ],
    [
      'persistent_connections',
      'Persistence templates',
      (d) => port.loads().destination(d.slot).persistent,
    ],
    ['weight', 'Weight', (d) => d.weight],
  ]
  for (const [name, help, read] of gauges) {
    new Gauge({
      name: `uvs_destination_${name}`,
      help: `${help}, by destination`,
      labelNames: DESTINATION_LABELS,
      registers: [registry],
      collect() {
        this.reset()
        eachDestination(config(), (service, destination) =>
          this.set(destinationLabels(service.id, destination), read(destination)),
        )
      },
    })
  }
}

function registerWorkers({ registry, port }: DataplaneMetricsOptions): void {
  new Gauge({
    name: 'uvs_worker_heartbeat_age_seconds',
    help: 'Time since the worker last looked around',
    labelNames: ['worker'],
    registers: [registry],
    collect() {
      this.reset()
      for (const { id, heartbeatAgeMs } of port.workers()) {
        this.set({ worker: String(id) }, heartbeatAgeMs / 1000)
      }
    },
  })
  new Counter({
    name: 'uvs_worker_restarts_total',
    help: 'Times the worker was replaced after a crash',
    labelNames: ['worker'],
    registers: [registry],
    collect() {
      this.reset()
      for (const { id, restarts } of port.workers()) this.inc({ worker: String(id) }, restarts)
    },
  })
}

function registerDrops({ registry, port }: DataplaneMetricsOptions): void {
  new Counter({
    name: 'uvs_packets_not_forwarded_total',
    help: 'Packets dropped or left to the host, by reason',
    labelNames: ['reason'],
    registers: [registry],
    collect() {
      this.reset()
      for (const [reason, count] of port.counters().drops()) {
        this.inc({ reason }, Number(count))
      }
    },
  })
}
