/** The Prometheus registry of one daemon; nothing global, so tests can have several. */
import { collectDefaultMetrics, Registry } from 'prom-client'

/** A registry with the metrics of the process itself. */
export function createRegistry(): Registry {
  const registry = new Registry()
  collectDefaultMetrics({
    register: registry,
    prefix: 'uvs_',
    // How often the loop is woken to see whether it is late; the default wakes an idle daemon a
    // hundred times per second.
    eventLoopMonitoringPrecision: 500,
  })
  return registry
}
