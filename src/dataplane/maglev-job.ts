/** A job of the CPU pool: builds mh tables (scheduler/maglev.ts), in shared memory. */
import { buildMaglevTable, type MaglevInput, type MaglevShape } from '../scheduler/maglev.js'

/** Tables of one shape that are wanted. */
export interface MaglevJob {
  readonly inputs: readonly MaglevInput[]
  readonly shape: MaglevShape
}

/** Piscina's entry: a table for each input, in order. */
export default function build({ inputs, shape }: MaglevJob): Uint16Array[] {
  return inputs.map((input) => buildMaglevTable(input, shape))
}
