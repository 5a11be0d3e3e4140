/** What concurrency.test.ts tells its worker threads. */
import type { RigBlocks } from '../../support/scheduler-rig.js'

/** Words of the control block, all written by main. */
export const CONTROL = { START: 0, PUBLISHED: 1, STOP: 2, WORDS: 3 } as const

export interface HammerJob {
  mode: 'picks' | 'clients' | 'adopting'
  lane: number
  blocks: RigBlocks
  snapshots: Uint8Array[]
  control: Int32Array
  /** This worker's part of the results. */
  results: Int32Array
  /** picks: how many. clients: how many clients. */
  count: number
  /** clients: how often each comes. */
  rounds: number
  /** clients: end each slave at once and let time pass, so that templates come and go. */
  churn: boolean
}
