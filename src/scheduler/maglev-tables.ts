/**
 * Which tables the mh services of a snapshot need, and which of them are there already. Pure: the
 * building itself is maglev.ts, wherever it runs.
 *
 * A table is a function of the service's list (addresses, ports, last weights, in order), so a
 * service whose list did not change in these keeps its table: a weight that goes to 0 and comes
 * back, a threshold, another forwarding method need no new one.
 *
 * More destinations than slots: the kernel leaves the table as it was. Here too; what the table had
 * for destinations that are removed is then nobody's. A service that comes with too many at once
 * has the table of the oldest, as if they had been added one by one.
 */
import { offsetOf, RECORDS, SCHEDULER_ID } from '../dataplane/layout.js'
import { byteSwap, foldAddress } from '../dataplane/address-words.js'
import type { ServiceView, SnapshotView } from '../dataplane/snapshot-view.js'
import {
  buildMaglevTable,
  DEFAULT_SHAPE,
  type MaglevInput,
  type MaglevShape,
  NO_OWNER,
} from './maglev.js'

const RECORD_BYTES = RECORDS.destination.bytes
const ADDRESS_WORD = offsetOf('destination', 'address') / 4
const LAST_WEIGHT_WORD = offsetOf('destination', 'lastWeight') / 4
const FAMILY = offsetOf('destination', 'family')

/** What workers get: the owners of each mh service's slots, by service slot. */
export type OwnersBySlot = ReadonlyMap<number, Uint16Array>

export const NO_OWNERS: OwnersBySlot = new Map()

/** The table of one service, and what it was made for. */
export interface MaglevEntry {
  readonly service: ServiceView
  readonly input: MaglevInput
  /** By slot: an index into the service's list, or NO_OWNER; empty when nobody has a weight. */
  readonly owners: Uint16Array
}

/** The tables of one snapshot, by service slot. */
export type MaglevTables = ReadonlyMap<number, MaglevEntry>

export const NO_TABLES: MaglevTables = new Map()

/** A table that has to be built. */
export interface WantedTable {
  readonly service: ServiceView
  readonly input: MaglevInput
  /** The list index that is 0 in `build`: newer destinations are left out. */
  readonly first: number
  readonly build: MaglevInput
}

/** The tables of a snapshot, as far as they are known. */
export interface MaglevPlan {
  readonly ready: readonly MaglevEntry[]
  readonly wanted: readonly WantedTable[]
}

/** What is to be done for `view`; `before` are the tables, of the same shape, now in force. */
export function planTables(
  view: SnapshotView,
  before: MaglevTables,
  { slots }: MaglevShape,
): MaglevPlan {
  const ready: MaglevEntry[] = []
  const wanted: WantedTable[] = []
  for (const service of view.services) {
    if (service?.schedulerId !== SCHEDULER_ID.mh) continue
    const old = before.get(service.slot)
    const kept = old?.service.incarnation === service.incarnation ? old : undefined
    if (kept?.service === service) {
      ready.push(kept)
      continue
    }
    const input = maglevInput(service)
    const count = service.slots.length
    if (kept !== undefined && sameInput(kept.input, input)) {
      ready.push({ service, input, owners: kept.owners })
    } else if (kept !== undefined && count > slots && kept.input.keys.length > slots) {
      ready.push({ service, input, owners: carriedOver(kept, service) })
    } else if (input.lastWeights.every((weight) => weight === 0)) {
      ready.push({ service, input, owners: new Uint16Array(0) })
    } else {
      const first = Math.max(0, count - slots)
      const { keys, lastWeights } = input
      const build = { keys: keys.slice(first), lastWeights: lastWeights.slice(first) }
      wanted.push({ service, input, first, build })
    }
  }
  return { ready, wanted }
}

/** The tables of the snapshot; `built` are those of `plan.wanted`, in its order. */
export function completeTables(plan: MaglevPlan, built: readonly Uint16Array[]): MaglevTables {
  const tables = new Map(plan.ready.map((entry) => [entry.service.slot, entry]))
  plan.wanted.forEach(({ service, input, first }, i) => {
    const owners = built[i]
    if (first > 0) for (let slot = 0; slot < owners.length; slot++) owners[slot] += first
    tables.set(service.slot, { service, input, owners })
  })
  return tables
}

/** The tables of `view` at once, on this thread. */
export function tablesAtOnce(
  view: SnapshotView,
  before: MaglevTables,
  shape = DEFAULT_SHAPE,
): MaglevTables {
  const plan = planTables(view, before, shape)
  return completeTables(
    plan,
    plan.wanted.map(({ build }) => buildMaglevTable(build, shape)),
  )
}

/** What workers need of the tables. */
export function ownersOf(tables: MaglevTables): OwnersBySlot {
  return new Map([...tables].map(([slot, { owners }]) => [slot, owners]))
}

/** What the table of a service is made from. */
export function maglevInput({ records, slots, ports, family }: ServiceView): MaglevInput {
  const bytes = new Uint8Array(records.buffer, records.byteOffset, records.byteLength)
  const keys = new Int32Array(slots.length)
  const lastWeights = new Int32Array(slots.length)
  for (let i = 0; i < slots.length; i++) {
    const at = (i * RECORD_BYTES) / 4
    const fold = foldOf(records, at + ADDRESS_WORD, bytes[at * 4 + FAMILY], family)
    keys[i] = fold + ports[i]
    lastWeights[i] = records[at + LAST_WEIGHT_WORD]
  }
  return { keys, lastWeights }
}

/**
 * fold() by the service's family of an address that may be of the other one (tunnels). The kernel
 * keeps both in one union: an IPv6 address seen as IPv4 is its first word, an IPv4 address seen as
 * IPv6 is itself and zeros.
 */
function foldOf(words: Int32Array, at: number, family: number, serviceFamily: number): number {
  if (family === 6 && serviceFamily === 4) return byteSwap(words[at])
  return foldAddress(words, at, family)
}

/** The old table in terms of a new list. */
function carriedOver(old: MaglevEntry, service: ServiceView): Uint16Array {
  const name = (of: ServiceView, index: number): string => {
    const at = (index * RECORD_BYTES) / 4
    const incarnation = of.records[at + offsetOf('destination', 'incarnation') / 4]
    return `${of.slots[index]} ${incarnation}`
  }
  const indexes = new Map(Array.from(service.slots, (_, i) => [name(service, i), i]))
  const moved = Uint16Array.from(
    old.service.slots,
    (_, i) => indexes.get(name(old.service, i)) ?? NO_OWNER,
  )
  const owners = new Uint16Array(new SharedArrayBuffer(old.owners.byteLength))
  for (let slot = 0; slot < owners.length; slot++) {
    const owner = old.owners[slot]
    owners[slot] = owner === NO_OWNER ? NO_OWNER : moved[owner]
  }
  return owners
}

function sameInput(a: MaglevInput, b: MaglevInput): boolean {
  const same = (x: Int32Array, y: Int32Array): boolean =>
    x.length === y.length && x.every((word, i) => word === y[i])
  return same(a.keys, b.keys) && same(a.lastWeights, b.lastWeights)
}
