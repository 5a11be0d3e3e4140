/**
 * UDP datagrams of any size, both ends of them.
 *
 *   node datagrams.js serve NAME PORT            answers each with itself, NAME in its first bytes
 *   node datagrams.js ask '{"server":"198.18.0.101:7","bytes":8000,"count":6}'
 *
 * `ask` prints one line of JSON: who answered, in order; it ends with 1 at the first answer that
 * does not come or is not what was sent. Each question is of another port.
 */
import { createSocket } from 'node:dgram'
import { networkInterfaces } from 'node:os'
import process from 'node:process'

/** What is asked. */
export interface DatagramTask {
  /** `address:port` or `[address]:port`. */
  server: string
  /** Of each datagram; at least NAME_BYTES. */
  bytes: number
  count: number
}

const LIMIT_MS = 3000
const NAME_BYTES = 8
const FIRST_PORT = 31_000

/** One socket for each address, so that the answer comes from the address that was asked. */
function serve(name: string, port: number): void {
  for (const { address, family } of Object.values(networkInterfaces()).flatMap(
    (all) => all ?? [],
  )) {
    if (address.startsWith('fe80:')) continue
    const socket = createSocket(family === 'IPv6' ? 'udp6' : 'udp4')
    socket.on('message', (message, { address: client, port: from }) => {
      message.write(name.padEnd(NAME_BYTES), 0, 'latin1')
      socket.send(message, from, client)
    })
    socket.bind(port, address)
  }
}

/** One question; resolves to the name of who answered it. */
function ask(address: string, port: number, from: number, bytes: number): Promise<string> {
  const asked = Buffer.from(Array.from({ length: bytes }, (_, i) => (i * 7 + from) & 0xff))
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  return new Promise((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error(`no answer within ${LIMIT_MS} ms`)), LIMIT_MS)
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // A router said that the path is smaller; from now on the kernel cuts for it.
      if (error.code === 'EMSGSIZE') socket.send(asked)
      else reject(error)
    })
    socket.once('message', (answer) => {
      clearTimeout(limit)
      socket.close()
      const same = answer.subarray(NAME_BYTES).equals(asked.subarray(NAME_BYTES))
      if (!same || answer.length !== bytes) reject(new Error(`another answer: ${answer.length}`))
      else resolve(answer.toString('latin1', 0, NAME_BYTES).trim())
    })
    socket.bind(from, () => socket.connect(port, address, () => socket.send(asked)))
  })
}

const [, , what, first = '', second = ''] = process.argv
if (what === 'serve') {
  serve(first, Number(second))
} else {
  const task = JSON.parse(first) as DatagramTask
  const [, address = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(task.server) ?? []
  const names: string[] = []
  for (let i = 0; i < task.count; i++) {
    names.push(await ask(address, Number(port), FIRST_PORT + (process.pid % 1000) + i, task.bytes))
  }
  console.log(JSON.stringify(names))
}
