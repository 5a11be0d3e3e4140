/** Decodes `connectionRow` records that a worker sent (layout.ts). */
import { METHOD, offsetOf, RECORDS, TCP_STATE } from './layout.js'

/** One connection; addresses are 16 bytes, IPv4-mapped. */
export interface ConnectionRecord {
  readonly clientAddress: Uint8Array
  readonly virtualAddress: Uint8Array
  readonly destinationAddress: Uint8Array
  readonly localAddress: Uint8Array
  readonly clientPort: number
  readonly virtualPort: number
  readonly destinationPort: number
  readonly localPort: number
  readonly protocol: number
  readonly state: string
  readonly method: string
  readonly flags: number
  readonly expiresMs: number
  readonly destinationSlot: number
}

const BYTES = RECORDS.connectionRow.bytes
const PROTOCOL_UDP = 17
const STATES = Object.keys(TCP_STATE)
const METHODS = Object.keys(METHOD).map((name) => name.toLowerCase())

const at = (field: keyof (typeof RECORDS)['connectionRow']['fields']): number =>
  offsetOf('connectionRow', field)

/** Every record of a block of rows. */
export function decodeConnections(rows: Uint8Array): ConnectionRecord[] {
  const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength)
  const out: ConnectionRecord[] = []
  for (let base = 0; base + BYTES <= rows.byteLength; base += BYTES) {
    const address = (field: Parameters<typeof at>[0]): Uint8Array =>
      rows.slice(base + at(field), base + at(field) + 16)
    const half = (field: Parameters<typeof at>[0]): number => view.getUint16(base + at(field), true)
    const protocol = rows[base + at('protocol')]
    out.push({
      clientAddress: address('clientAddress'),
      virtualAddress: address('virtualAddress'),
      destinationAddress: address('destinationAddress'),
      localAddress: address('localAddress'),
      clientPort: half('clientPort'),
      virtualPort: half('virtualPort'),
      destinationPort: half('destinationPort'),
      localPort: half('localPort'),
      protocol,
      state: protocol === PROTOCOL_UDP ? 'UDP' : (STATES[rows[base + at('state')]] ?? 'BUG'),
      method: METHODS[rows[base + at('method')]] ?? 'unknown',
      flags: view.getUint32(base + at('flags'), true),
      expiresMs: view.getUint32(base + at('expiresMs'), true),
      destinationSlot: half('destinationSlot'),
    })
  }
  return out
}
