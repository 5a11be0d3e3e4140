/**
 * Differences from the kernel that are meant to be: each refers to a line of docs/compat.md, which
 * has the reason. One that does not occur any more fails the run of all scenarios.
 */
import type { Difference } from './compare.js'

export interface Documented {
  /** Name of the scenario. */
  readonly scenario: string
  /** The first cell of the line in docs/compat.md. */
  readonly behaviour: string
  /** What the kernel and uvs show there, as it is printed; every line must fit. */
  readonly kernel: RegExp
  readonly uvs: RegExp
}

/** Scenarios in which a router narrows a tunnel's path for the first time. */
const NARROWED: readonly string[] = [
  'tunnels, IPIP: a router whose path is narrower, and another behind it',
  'tunnels, GUE: a router whose path is narrower, and another behind it',
  'tunnels, IPIP: a router that says a path is hardly there',
  'tunnels, IPIP: a narrower path is forgotten after ten minutes',
]

export const DOCUMENTED: readonly Documented[] = [
  {
    scenario: 'removed destination, expire_nodest_conn: a DR connection and its RST',
    behaviour: 'TCP without connection and without SYN',
    kernel: /^TCP CLOSE .* \(\d+ s left\)$/,
    uvs: /^$/,
  },
  {
    scenario: 'local node: a datagram that nobody on the director listens for',
    behaviour: 'ICMP errors of the director about a NAT connection to itself',
    kernel: /198\.18\.1\d\d\.\d+ > .* icmp 3\/3|^(UDP| {2}->) .* 1 +36 +64$/,
    uvs: /198\.18\.1\.254 > .* icmp 3\/3|^(UDP| {2}->) .* 0 +36 +0$/,
  },
  {
    scenario: 'DR: ICMP errors of the real server to the client pass through',
    behaviour: 'ICMP errors of DR and TUN real servers that pass the director',
    kernel: /^(UDP| {2}->) .* 6 +36 +336$/,
    uvs: /^(UDP| {2}->) .* 0 +36 +0$/,
  },
  {
    scenario: 'FTP: a client that acknowledges before the server has answered',
    behaviour: 'FTP: a client that acknowledges before the server has answered',
    kernel: /^nothing$/,
    uvs: /^to server: director > R1 .* tcp 40000 > 21 A seq/,
  },
  {
    scenario: 'destinations: the broadcast address of a network of the director',
    behaviour: "a network's broadcast address as a destination",
    kernel: /255|Invalid operation/,
    uvs: /exit status 0|198\.18\.1\.255/,
  },
  {
    scenario: 'edit from masquerading to direct routing: both kinds of connections go on',
    behaviour: 'several methods at one destination',
    kernel: /arp request 198\.18\.1\.254 asks for 198\.18\.1\d\d|icmp 3\/1 rest 0 quotes 40/,
    uvs: /to server: director > R1 .* tcp 40000 > 80 S?A? seq|^nothing$/,
  },
  ...NARROWED.map((scenario) => ({
    scenario,
    behaviour: "the first ICMP error that narrows a tunnel's path",
    kernel: /icmp 3\/4 rest 14(80|76|72|68) quotes/,
    uvs: /icmp 3\/4 rest (13(80|76|72|68)|532) quotes/,
  })),
]

/** The entry that allows a difference. */
export function documentation(
  scenario: string,
  difference: Difference,
  documented: readonly Documented[] = DOCUMENTED,
): Documented | undefined {
  const fits = (pattern: RegExp, lines: readonly string[]) =>
    lines.every((text) => pattern.test(text))
  return documented.find(
    (entry) =>
      entry.scenario === scenario &&
      fits(entry.kernel, difference.kernel) &&
      fits(entry.uvs, difference.uvs),
  )
}
