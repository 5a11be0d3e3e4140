/**
 * A job of the CPU pool in the place of maglev-job.ts, which throws for a first weight of 13, ends
 * its thread for one of 14, and else does the same.
 */
import process from 'node:process'
import build, { type MaglevJob } from '../../../src/dataplane/maglev-job.js'

export const THROWS = 13
export const EXITS = 14

export default function fail(job: MaglevJob): Uint16Array[] {
  const [weight] = job.inputs[0].lastWeights
  if (weight === THROWS) throw new Error('out of slots')
  if (weight === EXITS) process.exit(9)
  return build(job)
}
