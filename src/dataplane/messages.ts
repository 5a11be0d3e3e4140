/** What main and a worker say to each other over the worker's MessagePort. Types only. */

import type { OwnersBySlot } from '../scheduler/maglev-tables.js'

/** What a worker adopts as one. */
export interface Publication {
  /** Immutable, in shared memory. */
  readonly block: Uint8Array
  /** The tables of its mh services, immutable and shared too. */
  readonly tables: OwnersBySlot
}

/** Main to worker. The worker reads its port when `mail` or `wantedGeneration` moved on. */
export type ToWorker =
  | ({ readonly type: 'snapshot'; readonly generation: number } & Publication)
  | { readonly type: 'list'; readonly id: number; readonly cursor: number }
  | { readonly type: 'expire'; readonly id: number; readonly destinationSlot: number }

/** Worker to main. */
export type FromWorker =
  /** `rows` holds `connectionRow` records; `next` is the next cursor, END_OF_LIST at the end. */
  | { readonly type: 'rows'; readonly id: number; readonly rows: Uint8Array; readonly next: number }
  | { readonly type: 'expired'; readonly id: number; readonly count: number }
  | { readonly type: 'refused'; readonly generation: number; readonly message: string }
  /** Connections that went without persistence since the last message: no template was free. */
  | { readonly type: 'templatesFull'; readonly connections: number }
  | { readonly type: 'schedulerError'; readonly message: string; readonly dropped: number }

/** Cursor after the last connection. */
export const END_OF_LIST = 0xffffffff

/** Rows in one answer to `list`. */
export const LIST_ROWS = 256
