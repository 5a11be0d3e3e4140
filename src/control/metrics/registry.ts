/** The Prometheus registry of one daemon; nothing global, so tests can have several. */
import { collectDefaultMetrics, Registry } from 'prom-client'

/** A registry with the metrics of the process itself. */
export function createRegistry(): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, prefix: 'uvs_' })
  return registry
}
