/**
 * Trials of `npm run bench -- maglev`: what a change of an mh service costs before it is published,
 * and how many flows it moves. Each timed trial runs in a process of its own (run-trial.ts).
 */
import { maglevSlots, maglevTurnBits } from '../src/control/model/maglev-size.js'
import { MaglevPool } from '../src/dataplane/maglev-pool.js'
import { SnapshotView } from '../src/dataplane/snapshot-view.js'
import { buildMaglevTable, FIRST_KEY, maglevHash } from '../src/scheduler/maglev.js'
import { NO_TABLES } from '../src/scheduler/maglev-tables.js'
import { oneService } from './core-trials.js'
import { configOf, snapshotOf } from './support/config.js'

/** 198.18.0.0 to 198.18.255.255: the clients whose flows are followed. */
const FIRST_CLIENT = 0xc612_0000
const CLIENTS = 65_536
/** 198.19.1.1:80 and on. */
const FIRST_DESTINATION = 0xc613_0101
const PORT = 80

/**
 * Milliseconds from a snapshot with a new mh service to its table, on main's thread: the way to the
 * CPU pool and back included. `warm`: the pool has built such a table before.
 */
export async function build(destinations: number, warm: boolean): Promise<number> {
  const pool = new MaglevPool(console.error)
  const block = snapshotOf(configOf(oneService('direct', 'mh', destinations)))
  const view = new SnapshotView(block)
  try {
    if (warm) await pool.tablesFor(view, NO_TABLES)
    const start = process.hrtime.bigint()
    const tables = await pool.tablesFor(view, NO_TABLES)
    const ms = Number(process.hrtime.bigint() - start) / 1e6
    const owners = tables.get(0)?.owners
    if (owners === undefined || new Set(owners).size !== destinations) {
      throw new Error(`the table does not have all ${destinations} destinations`)
    }
    return ms
  } finally {
    await pool.close()
  }
}

/**
 * For each of `count` destinations of equal weight: the flows of the others that move when it is
 * removed, in percent of the others' flows. One flow for each client; no randomness. `index` gives
 * the size of the table.
 */
export function movedPercentages(count: number, index: number): number[] {
  const shape = { slots: maglevSlots(index), turnBits: maglevTurnBits(index) }
  const keys = Int32Array.from({ length: count }, (_, i) => FIRST_DESTINATION + i + PORT)
  const tableOf = (of: Int32Array): Uint16Array =>
    buildMaglevTable({ keys: of, lastWeights: new Int32Array(of.length).fill(1) }, shape)
  const before = tableOf(keys)
  const slots = Uint32Array.from(
    { length: CLIENTS },
    (_, i) => maglevHash(FIRST_CLIENT + i, FIRST_KEY) % shape.slots,
  )
  return Array.from(keys, (_, removed) => {
    const after = tableOf(keys.filter((_key, i) => i !== removed))
    let [others, moved] = [0, 0]
    for (const slot of slots) {
      const owner = before[slot]
      if (owner === removed) continue
      others++
      if (after[slot] !== (owner > removed ? owner - 1 : owner)) moved++
    }
    return (100 * moved) / others
  })
}
