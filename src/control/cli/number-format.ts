/** How ipvsadm abbreviates counters (spec 10.6). Pure. */

const PLAIN_BELOW = 100_000_000n

/** First limit a value is below -> what it is divided by, and the letter. */
const STEPS: readonly (readonly [below: bigint, divisor: bigint, unit: string])[] = [
  [1_000_000_000n, 1_000n, 'K'],
  [100_000_000_000n, 1_000_000n, 'M'],
  [100_000_000_000_000n, 1_000_000_000n, 'G'],
]

/** Nine characters, right-aligned; the division is truncated. */
export function abbreviated(value: bigint): string {
  if (value < PLAIN_BELOW) return String(value).padStart(9)
  for (const [below, divisor, unit] of STEPS) {
    if (value < below) return `${value / divisor}${unit}`.padStart(9)
  }
  return `${value / 1_000_000_000_000n}T`.padStart(9)
}

/** All digits, with at least one blank in front. */
export function exact(value: bigint): string {
  const digits = String(value)
  return digits.padStart(Math.max(9, digits.length + 1))
}
