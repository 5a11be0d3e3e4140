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
const PROTOCOL_SCTP = 132
const STATES = Object.keys(TCP_STATE)
/** By SCTP_STATE, as the kernel lists them (ip_vs_proto_sctp.c, sctp_state_name_table). */
const SCTP_STATES = [
  'NONE',
  'INIT1',
  'INIT',
  'C-SENT',
  'C-REPLIED',
  'C-WAIT',
  'COOKIE',
  'C-ECHOED',
  'ESTABLISHED',
  'S-SENT',
  'S-RECEIVED',
  'S-ACK-SENT',
  'REJECTED',
  'CLOSED',
]
const METHODS = Object.keys(METHOD).map((name) => name.toLowerCase())

const at = (field: keyof (typeof RECORDS)['connectionRow']['fields']): number =>
  offsetOf('connectionRow', field)

function stateName(protocol: number, state: number): string {
  if (protocol === PROTOCOL_UDP) return 'UDP'
  return (protocol === PROTOCOL_SCTP ? SCTP_STATES : STATES)[state] ?? 'BUG'
}

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
      state: stateName(protocol, rows[base + at('state')]),
      method: METHODS[rows[base + at('method')]] ?? 'unknown',
      flags: view.getUint32(base + at('flags'), true),
      expiresMs: view.getUint32(base + at('expiresMs'), true),
      destinationSlot: half('destinationSlot'),
    })
  }
  return out
}
