/**
 * A UDP server that reads PROXY protocol version 2: the first datagram of each sender must begin
 * with a header; it answers every datagram with what the header said of its client.
 *
 *   node proxy-udp-server.js 9001     prints `ready`, runs until it is killed
 */
import { createSocket } from 'node:dgram'
import process from 'node:process'

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const UDP4 = 0x12
const UDP6 = 0x22

/** `CLIENT:PORT via SERVICE:PORT`, with IPv6 addresses as hexadecimal digits. */
function client(data: Buffer): string {
  if (!data.subarray(0, 12).equals(SIGNATURE) || data[12] !== 0x21) return 'no header'
  const each = { [UDP4]: 4, [UDP6]: 16 }[data[13]]
  if (each === undefined || data.readUInt16BE(14) !== 2 * each + 4) return 'a bad header'
  const address = (at: number) => {
    const bytes = data.subarray(at, at + each)
    return each === 4 ? bytes.join('.') : bytes.toString('hex')
  }
  const ports = 16 + 2 * each
  const [from, to] = [data.readUInt16BE(ports), data.readUInt16BE(ports + 2)]
  return `${address(16)}:${from} via ${address(16 + each)}:${to}`
}

const known = new Map<string, string>()
for (const type of ['udp4', 'udp6'] as const) {
  const socket = createSocket({ type, ipv6Only: type === 'udp6' })
  socket.on('message', (data, from) => {
    const key = `${from.address} ${from.port}`
    const first = known.get(key)
    const text = first === undefined ? client(data) : `${first}, ${data.length} bytes`
    if (first === undefined) known.set(key, text)
    socket.send(text, from.port, from.address)
  })
  await new Promise<void>((resolve) => socket.bind(Number(process.argv[2]), resolve))
}
console.log('ready')
