/**
 * Asks a DNS server `who.test TXT` many times, each time from a new port, and prints the answers.
 *
 *   node dns-client.js '{"server":"198.18.0.101:53","queries":6}'
 *
 * Prints one line of JSON: the text of every answer in order; ends with 1 at the first failure.
 */
import { promises } from 'node:dns'
import process from 'node:process'

/** What is asked for. */
export interface DnsTask {
  /** `address:port` or `[address]:port`. */
  server: string
  queries: number
  name?: string
}

const LIMIT_MS = 2000

const task = JSON.parse(process.argv[2] ?? '{}') as DnsTask
const answers: string[] = []
for (let i = 0; i < task.queries; i++) {
  // One try: a lost query is a failure here, not something to be repeated.
  const resolver = new promises.Resolver({ timeout: LIMIT_MS, tries: 1 })
  resolver.setServers([task.server])
  const [record] = await resolver.resolveTxt(task.name ?? 'who.test')
  answers.push(record.join(''))
}
console.log(JSON.stringify(answers))
