/** A host that adds no address and no interface to a configuration, for snapshots in memory. */
import type { HostFacts } from '../../src/dataplane/snapshot-writer.js'

export const BARE_HOST: HostFacts = {
  localPortFirst: 1025,
  localPortLast: 65535,
  takenPorts: { first: 1025, last: 65535 },
  ephemeralPortFirst: 32768,
  ephemeralPortLast: 60999,
  unprivilegedStart: 1024,
  cookieSecret: new Uint8Array(36),
  announces: [],
  portNames: [],
  held: { together: new Set(), moved: false, localAddresses: [] },
}
