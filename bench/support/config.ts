/** Configurations for benchmarks and tests, made by the same commands as everyone's. */
import { apply } from '../../src/control/model/apply.js'
import type { Command } from '../../src/control/model/commands.js'
import { emptyConfig, type Config } from '../../src/control/model/config.js'
import { LIMITS } from '../../src/dataplane/layout.js'
import { writeSnapshot } from '../../src/dataplane/snapshot-writer.js'
import { BARE_HOST } from '../../test/support/bare-host.js'

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
  return writeSnapshot(config, generation, BARE_HOST)
}
