/**
 * Sends datagrams one after the other from one port and prints what came back to each.
 *
 *   node udp-client.js '{"server":"198.18.0.101:9000","from":"198.18.2.3","port":40001,"count":5}'
 *
 * Prints one line of JSON, a list of texts; ends with 1 when an answer does not come.
 */
import { createSocket } from 'node:dgram'
import process from 'node:process'

/** What is sent. */
export interface UdpTask {
  /** `address:port` or `[address]:port`. */
  readonly server: string
  /** The client's own address and port. */
  readonly from: string
  readonly port: number
  readonly count: number
  /** Bytes of each datagram. */
  readonly bytes: number
}

const LIMIT_MS = 3000

async function run(task: UdpTask): Promise<string[]> {
  const match = /^\[?([^\]]+?)\]?:(\d+)$/.exec(task.server)
  if (match === null) throw new Error(`not an endpoint: ${task.server}`)
  const [, address, port] = match
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  await new Promise<void>((resolve) => socket.bind(task.port, task.from, resolve))
  const answers: string[] = []
  for (let i = 0; i < task.count; i++) {
    const answer = new Promise<string>((resolve, reject) => {
      const limit = setTimeout(() => reject(new Error(`datagram ${i}: no answer`)), LIMIT_MS)
      socket.once('message', (data) => {
        clearTimeout(limit)
        resolve(data.toString('latin1'))
      })
    })
    socket.send(Buffer.alloc(task.bytes, 0x61), Number(port), address)
    answers.push(await answer)
  }
  socket.close()
  return answers
}

console.log(JSON.stringify(await run(JSON.parse(process.argv[2]) as UdpTask)))
