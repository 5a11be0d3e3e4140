/**
 * What the schedulers promise, computed apart from uvs: from the published rules only, in the
 * simplest way that gives the number of requests each real server must get.
 */

/** Names of the real servers in the order of the service's list. */
export function realName(index: number): string {
  return `r${index + 1}`
}

/**
 * rr and wrr: in whole cycles every destination is picked in proportion to its weight. Throws when
 * the number of requests is not one of whole cycles, because then nothing exact is promised.
 */
export function promiseByWeight(
  weights: readonly number[],
  requests: number,
): Record<string, number> {
  const sum = weights.reduce((total, weight) => total + weight, 0)
  if (requests % sum !== 0) throw new RangeError(`${requests} requests are no whole cycles`)
  return named(weights.map((weight) => (requests / sum) * weight))
}

/**
 * wlc while every connection stays open: the next one goes to the least connections per weight, the
 * first in the list where two are equal.
 */
export function promiseLeastConnections(
  weights: readonly number[],
  requests: number,
): Record<string, number> {
  const open = weights.map(() => 0)
  for (let i = 0; i < requests; i++) {
    let best = -1
    weights.forEach((weight, index) => {
      if (weight === 0) return
      if (best < 0 || open[best] * weight > open[index] * weights[best]) best = index
    })
    open[best]++
  }
  return named(open)
}

function named(counts: readonly number[]): Record<string, number> {
  const entries = counts.map((count, index): [string, number] => [realName(index), count])
  return Object.fromEntries(entries.filter(([, count]) => count > 0))
}
