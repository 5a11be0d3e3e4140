/**
 * The whole packet path over a capture file: what a director with this configuration would have
 * done with the recorded packets, written as another capture. No interfaces, no clock but the
 * capture's.
 */
import { MemoryCore } from './memory-core.js'

/** What a replay did. */
export interface ReplayResult {
  /** Flows that were scheduled. */
  readonly scheduled: number
  readonly active: number
  readonly inactive: number
}

/**
 * Replays `input` (classic pcap, Ethernet or raw IP) under a snapshot and writes what would have
 * been sent to `output` (empty: nowhere). Throws a coded error for a damaged capture.
 */
export function replay(
  input: string,
  output: string,
  snapshot: Uint8Array,
  connections = 65_536,
): ReplayResult {
  const rig = new MemoryCore([{ kind: 'replay', input, output }], connections, true)
  try {
    rig.adopt(snapshot)
    let scheduled = 0
    while (!rig.core.replayed()) scheduled += rig.burst()
    return { scheduled, ...rig.totals() }
  } finally {
    rig.core.close()
  }
}
