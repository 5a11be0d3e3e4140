/**
 * Asks a DNS server `who.test TXT` many times, each time from another port, and prints the answers.
 *
 *   node dns-client.js '{"server":"198.18.0.101:53","queries":6}'
 *
 * Prints one line of JSON: the text of every answer in order; ends with 1 at the first failure. The
 * ports are chosen here: a port that the kernel happened to give twice would be the same flow.
 */
import { createSocket } from 'node:dgram'
import process from 'node:process'

/** What is asked for. */
export interface DnsTask {
  /** `address:port` or `[address]:port`. */
  server: string
  queries: number
  name?: string
}

const LIMIT_MS = 2000
const TYPE_TXT = 16
const CLASS_IN = 1
const HEADER_BYTES = 12
const FIRST_PORT = 20_000
const PORTS = 10_000
/** So that two clients at a time use no port in common. */
const QUERIES_MAX = 100

/** A query for the TXT record of `name` (RFC 1035 4.1). */
function query(name: string, id: number): Buffer {
  const head = Buffer.alloc(HEADER_BYTES)
  head.writeUInt16BE(id, 0)
  head.writeUInt16BE(0x0100, 2) // recursion desired
  head.writeUInt16BE(1, 4) // one question
  const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)])
  return Buffer.concat([head, Buffer.from([...labels, 0, 0, TYPE_TXT, 0, CLASS_IN])])
}

/** The first string of the first answer; its owner is a pointer to the question, as usual. */
function text(answer: Buffer, asked: Buffer): string {
  if (answer.readUInt16BE(0) !== asked.readUInt16BE(0) || answer.readUInt16BE(6) === 0) {
    throw new Error(`no answer in ${answer.toString('hex')}`)
  }
  const record = asked.length
  const data = record + 12
  return answer.subarray(data + 1, data + 1 + answer[data]).toString()
}

/** One question from one port. */
function ask(address: string, port: number, from: number, name: string): Promise<string> {
  const asked = query(name, from)
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  return new Promise((resolve, reject) => {
    // One try: a lost query is a failure here, not something to be repeated.
    const limit = setTimeout(() => reject(new Error(`no answer within ${LIMIT_MS} ms`)), LIMIT_MS)
    const end = (): void => {
      clearTimeout(limit)
      socket.close()
    }
    socket.once('error', reject)
    socket.once('message', (answer) => {
      end()
      resolve(text(answer, asked))
    })
    // Connected, so that a port unreachable is heard.
    socket.bind(from, () => socket.connect(port, address, () => socket.send(asked)))
  })
}

const task = JSON.parse(process.argv[2] ?? '{}') as DnsTask
const [, address = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(task.server) ?? []
const answers: string[] = []
for (let i = 0; i < task.queries; i++) {
  const from = FIRST_PORT + ((process.pid * QUERIES_MAX + i) % PORTS)
  answers.push(await ask(address, Number(port), from, task.name ?? 'who.test'))
}
console.log(JSON.stringify(answers))
