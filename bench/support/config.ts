/** Configurations for benchmarks and tests, made by the same commands as everyone's. */
import { apply } from '../../src/control/model/apply.js'
import type { Command } from '../../src/control/model/commands.js'
import { emptyConfig, type Config } from '../../src/control/model/config.js'
import { LIMITS } from '../../src/dataplane/layout.js'
import { writeSnapshot } from '../../src/dataplane/snapshot-writer.js'

/** The configuration that `commands` make; throws when one is refused. */
export function configOf(commands: readonly Command[]): Config {
  let config = emptyConfig({
    services: LIMITS.SERVICES,
    destinations: LIMITS.DESTINATIONS,
    localAddresses: LIMITS.LOCAL_ADDRESSES,
  })
  for (const command of commands) {
    const result = apply(config, command)
    if (!result.ok) throw result.error
    config = result.value
  }
  return config
}

/** The snapshot of a configuration on no host in particular. */
export function snapshotOf(config: Config, generation = 1): Uint8Array {
  return writeSnapshot(config, generation, {
    localPortFirst: 1025,
    localPortLast: 65535,
    ephemeralPortFirst: 32768,
    ephemeralPortLast: 60999,
    unprivilegedStart: 1024,
    cookieSecret: new Uint8Array(36),
    announces: [],
    portNames: [],
    held: { together: new Set<string>(), moved: false },
  })
}
