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
 * "Reassembly time exceeded" and "host unreachable": sent by timers, and the kernel's of half a
 * minute run out in any order if they were set within two seconds (kernel/time/timer.c).
 */
const BY_TIMER = / icmp (11|3)\/1 /

/** What differs, step by step; empty when the two did the same. */
export function compare(
  titles: readonly string[],
  kernel: Observation,
  uvs: Observation,
): Difference[] {
  return titles.flatMap((title, step) => {
    const [here, there] = [inOrder(kernel[step] ?? []), inOrder(uvs[step] ?? [])]
    if (here.length === there.length && here.every((one, i) => isSame(one, there[i]))) return []
    const [onlyKernel, onlyUvs] = [without(here, there), without(there, here)]
    // The same lines in another order: then the order is what differs.
    const isOrder = onlyKernel.length === 0 && onlyUvs.length === 0
    const lines = (all: readonly Seen[], only: readonly Seen[]) => (isOrder ? all : only).map(line)
    return [{ step, title, kernel: lines(here, onlyKernel), uvs: lines(there, onlyUvs) }]
  })
}

/** With what timers sent sorted, each in a place that one of them has. */
function inOrder(list: readonly Seen[]): readonly Seen[] {
  const sorted = list.filter(({ text }) => BY_TIMER.test(text))
  sorted.sort((a, b) => (a.text < b.text ? -1 : 1))
  return list.map((one) => (BY_TIMER.test(one.text) ? (sorted.shift() as Seen) : one))
}

function isSame(a: Seen, b: Seen): boolean {
  if (a.text !== b.text || (a.leftSec === undefined) !== (b.leftSec === undefined)) return false
  return Math.abs((a.leftSec ?? 0) - (b.leftSec ?? 0)) <= TOLERANCE_SEC
}

/** Those of `list` that have no partner of their own in `other`. */
function without(list: readonly Seen[], other: readonly Seen[]): Seen[] {
  const rest = [...other]
  return list.filter((one) => {
    const at = rest.findIndex((partner) => isSame(one, partner))
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
