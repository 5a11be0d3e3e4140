/**
 * Scheduling for persistent services: follow the client's template, or make one (spec 4.2).
 * Kernel: ip_vs_core.c ip_vs_sched_persist.
 *
 * The bucket stays locked from the search to the new template, the scheduler's pick included: two
 * workers that see the same new client at once give it one template and take one turn.
 *
 * A flow that a real server begins (spec 4.5) knows its destination: the template is made to lead
 * there. Kernel: ip_vs_new_conn_out.
 */
import { MISS_FLAG, VERDICT } from '../../dataplane/layout.js'
import type { LoadView } from '../../dataplane/load-view.js'
import type { MissBatch } from '../../dataplane/miss-batch.js'
import type { ServiceView } from '../../dataplane/snapshot-view.js'
import { type Bound, NO_DESTINATION } from '../scheduler.js'
import type { TemplateKey } from './engine.js'
import type { TemplateTable } from './templates.js'

/** Answers misses of persistent services; one per worker. */
export class PersistentSchedule {
  /** Connections that found the template table full; with an engine they are dropped. */
  tableFullCount = 0
  readonly #misses: MissBatch
  readonly #load: LoadView
  readonly #templates: TemplateTable
  readonly #key: TemplateKey

  constructor(misses: MissBatch, load: LoadView, templates: TemplateTable) {
    this.#misses = misses
    this.#load = load
    this.#templates = templates
    this.#key = templates.newKey()
  }

  /** Writes verdict and template of the selected miss. The load is prepared for the service. */
  answer(service: ServiceView, bound: Bound): void {
    this.#key.compute(this.#misses, service)
    const bucket = this.#templates.lock(this.#key)
    try {
      if ((this.#misses.flags & MISS_FLAG.OUTBOUND) === 0) this.#follow(bucket, service, bound)
      else this.#lead(bucket, service)
    } finally {
      this.#templates.unlock(bucket)
    }
  }

  #follow(bucket: number, service: ServiceView, bound: Bound): void {
    const templates = this.#templates
    const misses = this.#misses
    const nowSec = this.#load.nowSec
    let ref = templates.find(bucket, this.#key, nowSec)
    if (ref === 0 || !templates.isUsable(ref, this.#load.view)) {
      if (ref !== 0) templates.invalidate(ref)
      const chosen = bound.pick(misses, this.#load)
      if (chosen === NO_DESTINATION) {
        misses.setVerdict(VERDICT.NONE)
        return
      }
      ref = templates.create(bucket, this.#key, service, misses, chosen)
      if (ref === 0) {
        this.tableFullCount++
        if (this.#key.textBytes !== 0) {
          misses.setVerdict(VERDICT.NO_TEMPLATE)
          return
        }
        // No room for another template: this connection goes without persistence.
        misses.setVerdict(chosen)
        this.#load.picked(chosen, misses.protocol, this.#isOnePacket())
        return
      }
    }
    this.#bind(ref, nowSec)
    if (this.#isOnePacket()) templates.addPackets(ref, misses.packets)
  }

  /** Outbound: the template of the call leads to the server that speaks, or is replaced. */
  #lead(bucket: number, service: ServiceView): void {
    const templates = this.#templates
    const nowSec = this.#load.nowSec
    const destination = this.#misses.verdict
    let ref = templates.find(bucket, this.#key, nowSec)
    const leads =
      ref !== 0 &&
      templates.isUsable(ref, this.#load.view) &&
      templates.destination(ref) === destination
    if (!leads) {
      if (ref !== 0) templates.invalidate(ref)
      ref = templates.create(bucket, this.#key, service, this.#misses, destination)
      if (ref === 0) {
        this.tableFullCount++
        this.#misses.setVerdict(VERDICT.NO_TEMPLATE)
        return
      }
    }
    this.#bind(ref, nowSec)
  }

  /** Makes the new connection a slave of a template. */
  #bind(ref: number, nowSec: number): void {
    const misses = this.#misses
    const templates = this.#templates
    const destination = templates.destination(ref)
    templates.addConnection(ref, nowSec)
    misses.setVerdict(destination)
    misses.setTemplate(ref)
    this.#load.picked(destination, misses.protocol, this.#isOnePacket())
  }

  #isOnePacket(): boolean {
    return (this.#misses.flags & MISS_FLAG.ONE_PACKET) !== 0
  }
}
