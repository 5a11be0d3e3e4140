/** Every scheduling method by its number in a snapshot. */
import { SCHEDULER_ID } from '../dataplane/layout.js'
import { dh } from './dh.js'
import { fo } from './fo.js'
import { lblc } from './lblc.js'
import { lblcr } from './lblcr.js'
import { lc } from './lc.js'
import { mh } from './mh.js'
import { nq } from './nq.js'
import { ovf } from './ovf.js'
import { rr } from './rr.js'
import { type Bound, NO_DESTINATION, type Scheduler, type SchedulerName } from './scheduler.js'
import { sed } from './sed.js'
import { sh } from './sh.js'
import { twos } from './twos.js'
import { wlc } from './wlc.js'
import { wrr } from './wrr.js'

const REFUSE: Bound = { pick: () => NO_DESTINATION }

/** The literal scheduler `none`: new connections never find a destination (spec 1.1). */
const none: Scheduler = { name: 'none', bind: () => REFUSE }

const SCHEDULERS = {
  none,
  rr,
  wrr,
  lc,
  wlc,
  lblc,
  lblcr,
  dh,
  sh,
  sed,
  nq,
  fo,
  ovf,
  mh,
  twos,
} as const satisfies Record<SchedulerName, Scheduler>

const BY_ID = new Map<number, Scheduler>(
  Object.values(SCHEDULERS).map((scheduler) => [SCHEDULER_ID[scheduler.name], scheduler]),
)

/** The scheduler with a SCHEDULER_ID; an unknown number is an unchecked snapshot: it throws. */
export function schedulerById(id: number): Scheduler {
  const scheduler = BY_ID.get(id)
  if (scheduler === undefined) throw new Error(`no scheduler has the number ${id}`)
  return scheduler
}
