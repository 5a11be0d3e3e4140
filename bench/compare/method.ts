/** The words of the report about how the host's part was measured, and how to read it. Pure. */
import type { Figure } from '../report.js'
import { type MeasureName, PROXY_BUFFER_BYTES } from './plan.js'

const BUFFER = `${PROXY_BUFFER_BYTES / 1024} kB`

/** Only of the measures that were taken; their loads are read from the figures. */
export function hostMethod(figures: readonly Figure[]): string {
  const params = (measure: MeasureName): Figure['params'] | undefined =>
    figures.find(({ name }) => new RegExp(`^compare/host/\\w+/${measure}$`).test(name))?.params
  const [web, bulk, rtt] = [params('cps'), params('bulk'), params('rtt')]
  const loads = [
    ...(web === undefined ? [] : [webWords(web)]),
    ...(bulk === undefined ? [] : [bulkWords(bulk)]),
    ...(rtt === undefined ? [] : [rttWords(rtt)]),
    ...(web === undefined && bulk === undefined ? [] : [PROCESSOR_TIME]),
  ]
  return [`${NETWORK}\n\n${WHO}`, 'What is measured:', loads.join('\n'), READING].join('\n\n')
}

const NETWORK = `Three network namespaces in a row, client, director and destination, joined by
veth pairs with their default offloads. A round starts every contender once, in a new network, and
takes all its measures in turn; every other round goes backwards. Figures are medians over the
rounds, with the smallest and the largest value. A ratio is formed from two values of the same
round, and its median is taken over the rounds.`

const WHO = `| contender | what it is |
|---|---|
| uvs NAT | \`uvs run --io af_packet --workers 1\`, one service per port, \`rr\`, \`-m\` |
| HAProxy | TCP mode, \`nbthread 1\`, no log, spliced both ways, \`tune.pipesize\` ${BUFFER} |
| nginx stream | one process, no access log, \`reuseport\`, \`proxy_buffer_size\` ${BUFFER} |
| nftables DNAT | one \`dnat\` rule, no flowtable; answers pass the same connection tracking |
| routing | the kernel forwards to the destination's own address; nobody balances anything |

All use a virtual address on the director, but routing. Of the settings that were tried for the
proxies (copied or spliced, buffers of 16 kB to ${BUFFER}) these take their process the least time
per GB, and no more than others per connection.`

const webWords = ({ connections, seconds }: Figure['params']): string =>
  `- **New connections**: wrk with ${connections} connections at a time and \`Connection: close\`,
  one request on each, against nginx with one process on the destination, for ${seconds} s.`

const bulkWords = ({ seconds }: Figure['params']): string =>
  `- **Bulk**: one iperf3 stream from client to destination for ${seconds} s, as received.`

const rttWords = ({ requestsPerSec, connections, bytes, seconds }: Figure['params']): string =>
  `- **Round trip**: ${bytes}-byte requests to a TCP echo, ${requestsPerSec} per second in turn over
  ${connections} kept connections, for ${seconds} s. The times of sending are fixed beforehand,
  and a round trip counts from the time at which its request was due: a stall counts for all that
  were due meanwhile.`

const PROCESSOR_TIME = `- **Processor time**: what all processors of the machine worked during
  the load (\`/proc/stat\` without idle, iowait and steal), divided by what was carried. Client,
  forwarder and server are in it, for every contender alike, because with veth much of a
  forwarder's work is done in the sender's stead. \`forwarder alone\` is the time of the forwarder's
  own process; the kernel's forwarding has none.`

const READING = `How to read it:

- Client, forwarder and server share the machine's processors. So a figure is not what a
  forwarder could do with a machine of its own; only figures of the same report can be compared.
- Any other work on the machine takes processors away and is counted as processor time. Of all
  figures, \`forwarder alone\` is the one that it disturbs least.
- veth carries packets of up to 64 kB unsegmented, and network cards do not. Bulk figures are
  higher here than there, for all contenders.
- A proxy ends the client's connection and makes another one: the destination does not see the
  client's address, and bulk data can stay in the kernel. NAT keeps the address and handles every
  packet.
- Where the spread of a ratio reaches over 1, the two are equal as far as this run can say.`

/** How the guest's part was measured (guest-plan.ts). */
export const GUEST_METHOD = `- **pps-per-cpu**: 60-byte UDP frames of 1024 flows that were
  delivered, divided by all processor time of the guest meanwhile, generator and destination
  included, for both alike.
  One processor, whose clock counts instructions. \`ratio-alone\` takes from both what the same load
  costs when it is dropped in front of the director. That is coarse: the generator uses its pages
  again with IPVS and when it is dropped, but not where a frame is copied into uvs's ring, and what
  that costs (about a fifth of uvs's side) is not uvs's.
- **new**: connections per second while more SYNs come than can be taken, each of another client, by
  a director with an empty table; direct routing over eight destinations. Two processors: the
  generator and IPVS share the first, uvs works on the other. The kernel's table has its default of
  4096 buckets.
- **rtt**: one small UDP request at a time; what the director adds to the cable. An emulated
  processor takes long to wake up a program, which uvs is and IPVS is not.
- **memory**: growth of resident memory (uvs) and of its slabs (IPVS) by 500 thousand connections.`
