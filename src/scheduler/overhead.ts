/**
 * The comparison of loads by weight that wlc, sed, nq, lblc and lblcr share, and the wlc choice.
 *
 * Exactness: the kernel forms products in 64-bit integers. Here they are doubles. Rounding never
 * turns an order around (x <= y gives round(x) <= round(y)), so a strict difference of the rounded
 * products is a strict difference of the real ones. Only equal products of 2^53 or more may hide a
 * difference; it is then smaller than 2^31 (overhead below 2^40, weight below 2^31: products below
 * 2^71, whose neighbours are 2^18 apart), so its low 32 bits, which Math.imul gives, decide.
 */
import type { LoadView } from '../dataplane/load-view.js'
import type { ServiceView } from '../dataplane/snapshot-view.js'
import { NO_DESTINATION } from './scheduler.js'

const EXACT_LIMIT = 2 ** 53

/**
 * Whether a * b > c * d, exactly: a, c whole and below 2^40, or Infinity; b, d whole, below 2^31.
 */
export function productGreater(a: number, b: number, c: number, d: number): boolean {
  const left = a * b
  const right = c * d
  if (left !== right) return left > right
  return left >= EXACT_LIMIT && ((Math.imul(a, b) - Math.imul(c, d)) | 0) > 0
}

/**
 * The wlc choice among a service's list: a destination slot or NO_DESTINATION. The first usable
 * destination leads; a later one takes over only when strictly less loaded for its weight.
 * `load` must be prepared for the service. Kernel: ip_vs_wlc.c ip_vs_wlc_schedule.
 */
export function pickWeightedLeast(service: ServiceView, load: LoadView): number {
  const { slots, weights } = service
  const { overheadOf } = load
  let best = NO_DESTINATION
  // Anything usable beats these; weight 0 (a product of 0 or NaN) and overloaded (Infinity) do not.
  let bestWeight = 1
  let bestOverhead = Infinity
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[i]
    const weight = weights[i]
    const overhead = overheadOf[slot]
    if (productGreater(bestOverhead, weight, overhead, bestWeight)) {
      best = slot
      bestWeight = weight
      bestOverhead = overhead
    }
  }
  return best
}
