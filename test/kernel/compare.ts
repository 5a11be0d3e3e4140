/** Compares what two directors did in the same scenario. Pure. */

/** One thing seen in a step. Times are compared with a tolerance, everything else to the letter. */
export interface Seen {
  readonly text: string
  /** A timer that is running, seconds left. */
  readonly leftSec?: number
}

/** Everything seen, by step. */
export type Observation = readonly (readonly Seen[])[]

export interface Difference {
  /** Number of the step, from 0, and the step in words. */
  readonly step: number
  readonly title: string
  /** What only the one or only the other did; of timers that differ, both. */
  readonly kernel: readonly string[]
  readonly uvs: readonly string[]
}

/**
 * Timers may differ by this: uvs' tick is 250 ms, seconds are rounded down, and the two directors
 * are asked one after the other.
 */
const TOLERANCE_SEC = 2

/**
 * A template that holds connections is set to a minute each time it runs out (ip_vs_conn.c
 * ip_vs_conn_expire); the kernel's timers of a minute run out up to 512 ticks late, and that adds
 * up.
 */
const REARM_SEC = 60
const LATE_SEC = 512 / 250
const LATE_MAX_SEC = 10
const TEMPLATE = /^\S+ \S+ \S+:0 /

/**
 * "Reassembly time exceeded" and "host unreachable": sent by timers, and the kernel's of half a
 * minute run out in any order if they were set within two seconds (kernel/time/timer.c).
 */
const BY_TIMER = / icmp (11|3)\/1 /

/**
 * What differs, step by step; empty when the two did the same. `sinceSec` tells for each step how
 * much time has passed.
 */
export function compare(
  titles: readonly string[],
  kernel: Observation,
  uvs: Observation,
  sinceSec: readonly number[] = [],
): Difference[] {
  return titles.flatMap((title, step) => {
    const lateSec = lateness(sinceSec[step] ?? 0)
    const [here, there] = withoutOverdue(
      inOrder(kernel[step] ?? []),
      inOrder(uvs[step] ?? []),
      lateSec,
    )
    const isEqual = here.every((one, i) => isSame(one, there[i], lateSec))
    if (here.length === there.length && isEqual) return []
    const [onlyKernel, onlyUvs] = [without(here, there, lateSec), without(there, here, lateSec)]
    // The same lines in another order: then the order is what differs.
    const isOrder = onlyKernel.length === 0 && onlyUvs.length === 0
    const lines = (all: readonly Seen[], only: readonly Seen[]) => (isOrder ? all : only).map(line)
    return [{ step, title, kernel: lines(here, onlyKernel), uvs: lines(there, onlyUvs) }]
  })
}

/**
 * Both without what is overdue in the kernel: it lists an entry with no time left until its timer,
 * which is late, has run. Then it goes, or a template gets its next minute, as uvs did in time.
 */
function withoutOverdue(
  kernel: readonly Seen[],
  uvs: readonly Seen[],
  lateSec: number,
): readonly [readonly Seen[], readonly Seen[]] {
  const overdue = without(kernel, uvs, lateSec).filter(({ leftSec }) => leftSec === 0)
  if (overdue.length === 0) return [kernel, uvs]
  const rest = [...uvs]
  for (const { text } of overdue) {
    const at = rest.findIndex((one) => one.text === text && TEMPLATE.test(text))
    if (at >= 0) rest.splice(at, 1)
  }
  return [kernel.filter((one) => !overdue.includes(one)), rest]
}

/** How late the kernel's template may be that was set anew all the time. */
function lateness(sinceSec: number): number {
  return Math.min(Math.floor(sinceSec / REARM_SEC) * LATE_SEC, LATE_MAX_SEC)
}

/** With what timers sent sorted, each in a place that one of them has. */
function inOrder(list: readonly Seen[]): readonly Seen[] {
  const sorted = list.filter(({ text }) => BY_TIMER.test(text))
  sorted.sort((a, b) => (a.text < b.text ? -1 : 1))
  return list.map((one) => (BY_TIMER.test(one.text) ? (sorted.shift() as Seen) : one))
}

function isSame(a: Seen, b: Seen | undefined, lateSec: number): boolean {
  if (a.text !== b?.text || (a.leftSec === undefined) !== (b.leftSec === undefined)) return false
  const [left, other] = [a.leftSec ?? 0, b.leftSec ?? 0]
  const isRearmed = TEMPLATE.test(a.text) && Math.max(left, other) <= REARM_SEC
  return Math.abs(left - other) <= TOLERANCE_SEC + (isRearmed ? lateSec : 0)
}

/** Those of `list` that have no partner of their own in `other`. */
function without(list: readonly Seen[], other: readonly Seen[], lateSec: number): Seen[] {
  const rest = [...other]
  return list.filter((one) => {
    const at = rest.findIndex((partner) => isSame(one, partner, lateSec))
    if (at >= 0) rest.splice(at, 1)
    return at < 0
  })
}

/** One thing seen, as a person reads it. */
export function line({ text, leftSec }: Seen): string {
  return leftSec === undefined ? text : `${text} (${leftSec} s left)`
}

/** A difference as a person reads it. */
export function differenceText({ step, title, kernel, uvs }: Difference): string {
  const side = (name: string, lines: readonly string[]) =>
    (lines.length === 0 ? ['nothing'] : lines).map((text) => `      ${name}: ${text}`)
  return [`    step ${step + 1}: ${title}`, ...side('kernel', kernel), ...side('uvs   ', uvs)].join(
    '\n',
  )
}
