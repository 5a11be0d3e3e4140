/**
 * drop_entry for templates (spec 3.11): once a second a 32nd of them is drawn at random, and those
 * that bring least end. Connections are the core's (native/conn/drop_entry.h), with the same rules
 * and counters of its own. Kernel: ip_vs_conn.c ip_vs_random_dropentry.
 */
import { SERVICE_FLAG, TEMPLATE_STATE } from '../../dataplane/layout.js'
import type { SnapshotView } from '../../dataplane/snapshot-view.js'
import type { TemplateTable } from './templates.js'

const SHARE = 32
const PACKETS_MAX = 8
const GRACE_SEC = 60

/** Ends templates, second by second, while the defence acts. */
export class DropTemplates {
  readonly #templates: TemplateTable
  readonly #random: () => number
  readonly #counters = new Array<number>(PACKETS_MAX + 1).fill(0)
  /** References not yet accounted for, in 32nds of a draw. */
  #remainder = 0

  /** `random`: numbers from 0 to below 1. */
  constructor(templates: TemplateTable, random: () => number) {
    this.#templates = templates
    this.#random = random
  }

  /** One second's share; the sweep frees what is ended. Returns how many were. */
  run(view: SnapshotView, nowSec: number): number {
    const references = this.#templates.referenceCount
    const due = references + this.#remainder
    this.#remainder = due % SHARE
    let ended = 0
    for (let draws = Math.floor(due / SHARE); draws > 0; draws--) {
      const ref = 1 + Math.floor(this.#random() * references)
      if (!this.#takes(ref, view, nowSec)) continue
      this.#templates.expireNow(ref)
      ended++
    }
    return ended
  }

  #takes(ref: number, view: SnapshotView, nowSec: number): boolean {
    const row = this.#templates.peek(ref, nowSec)
    if ((row.state & TEMPLATE_STATE.USED) === 0 || row.connections > 0) return false
    const service = view.services[row.serviceSlot]
    const onePacket = service?.incarnation === row.serviceIncarnation ? service.flags : 0
    if ((onePacket & SERVICE_FLAG.ONE_PACKET) !== 0) return this.#lottery(row.packets, row.idleSec)
    return (row.state & TEMPLATE_STATE.ASSURED) === 0
  }

  /** One of `packets`, the first always; none that was used within a minute. */
  #lottery(packets: number, idleSec: number): boolean {
    if (idleSec < GRACE_SEC || packets < 1 || packets > PACKETS_MAX) return false
    if (--this.#counters[packets] > 0) return false
    this.#counters[packets] = packets
    return true
  }
}
