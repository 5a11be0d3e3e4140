/** Capture files for tests: written by hand here, read back by libpcap. */
import { writeFileSync } from 'node:fs'
import pcap from 'pcap'

const MAGIC = 0xa1b2c3d4
const LINK_ETHERNET = 1

/** A frame and when it was captured, microseconds. */
export interface Captured {
  readonly atUs: number
  readonly frame: Uint8Array
}

/** Writes a classic pcap file with Ethernet frames. */
export function writeCapture(path: string, packets: readonly Captured[]): void {
  const head = Buffer.alloc(24)
  head.writeUInt32LE(MAGIC, 0)
  head.writeUInt16LE(2, 4)
  head.writeUInt16LE(4, 6)
  head.writeUInt32LE(65535, 16)
  head.writeUInt32LE(LINK_ETHERNET, 20)
  const records = packets.flatMap(({ atUs, frame }) => {
    const record = Buffer.alloc(16)
    record.writeUInt32LE(Math.floor(atUs / 1e6), 0)
    record.writeUInt32LE(atUs % 1e6, 4)
    record.writeUInt32LE(frame.length, 8)
    record.writeUInt32LE(frame.length, 12)
    return [record, frame]
  })
  writeFileSync(path, Buffer.concat([head, ...records]))
}

/** Reads every packet of a capture with libpcap, an independent reader; `filter` as tcpdump's. */
export function readCapture(path: string, filter = ''): Promise<Captured[]> {
  return new Promise((resolve) => {
    const packets: Captured[] = []
    const session = pcap.createOfflineSession(path, { filter })
    session.on('packet', ({ buf, header }) => {
      const atUs = header.readUInt32LE(0) * 1e6 + header.readUInt32LE(4)
      packets.push({ atUs, frame: new Uint8Array(buf.subarray(0, header.readUInt32LE(8))) })
    })
    session.on('complete', () => {
      session.close()
      resolve(packets)
    })
  })
}
