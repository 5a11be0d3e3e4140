/**
 * The network of the guest's part of the comparison, the same for uvs and for the kernel's IPVS:
 *
 *   client eth0 198.18.0.1 --- eth0 198.18.0.254 director 198.18.1.254 eth1 --- eth0 destination
 *          eth1 198.18.2.254 ------------------------------------------- 198.18.2.1 eth1
 *
 * As that of `bench net` (net/lab.ts), but with a virtual address for each method, so that one
 * director serves all of them, and made with few programs: starting one takes the guest a tenth of
 * a second.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { type Host, TestNetwork } from '../../test/support/namespace.js'
import {
  CLIENT_ADDRESS,
  CLIENT_MAC,
  DESTINATION_MAC,
  DIRECT_ADDRESS,
  DIRECTOR_MAC,
  FAR,
  NEAR,
  RETURNING_ADDRESS,
} from '../net/lab.js'
import { netTool } from '../net/tool.js'
import { type Method, receivedPackets } from './guest-plan.js'

export const VIRTUAL: Readonly<Record<Method, string>> = {
  dr: '198.18.0.200',
  tun: '198.18.0.201',
  nat: '198.18.0.202',
}

/** Where programs on the destination answer from, by the method that leads there. */
export const ANSWERING: Readonly<Record<Method, string>> = {
  dr: VIRTUAL.dr,
  tun: VIRTUAL.tun,
  nat: RETURNING_ADDRESS,
}

/** The destination by its own cable from the client. */
export const BYPASS_ADDRESS = '198.18.2.1'

/** Destinations of the services whose schedulers are compared; all of them are one machine. */
export const MANY_DESTINATIONS = [11, 12, 13, 14, 15, 16, 17, 18].map((n) => `198.18.1.${n}`)

const DIRECTOR_FAR_MAC = '02:00:00:00:01:fe'
const TUNNEL = 'tunl0' // every namespace has one where the module ipip is loaded

/** Drops every frame that a host receives from the cable to its left, and counts them. */
export interface Swallow {
  received(): number
  stop(): Promise<number>
}

export class GuestLab {
  readonly client: Host
  readonly director: Host
  readonly destination: Host
  private readonly net = new TestNetwork()

  constructor() {
    this.client = this.net.host('client')
    this.director = this.net.host('director')
    this.destination = this.net.host('dest')
    this.cables()
    const quiet = ['all', 'default'].flatMap((scope) => [
      `net.ipv4.conf.${scope}.rp_filter=0`,
      `net.ipv6.conf.${scope}.disable_ipv6=1`,
      `net.ipv4.conf.${scope}.arp_ignore=1`,
    ])
    for (const host of [this.client, this.director, this.destination]) {
      host.exec(['sysctl', '-q', '-w', ...quiet])
    }
    this.addresses()
    // Frames made in the kernel enter through NAPI, which veth has with GRO only, as a network card
    // has it always. UDP and SYNs of this kind are not merged.
    this.director.exec(['ethtool', '-K', NEAR, 'gro', 'on'])
  }

  /** From now on a host's stack sees nothing that comes in at its `eth0`. */
  async swallow(host: Host): Promise<Swallow> {
    const program = host.spawn([netTool(), 'swallow', `device=${NEAR}`])
    await program.waitForOutput(/ready/)
    const file = `/proc/${program.pid}/net/dev`
    return {
      received: () => receivedPackets(readFileSync(file, 'utf8'), NEAR),
      stop: () => program.stop(),
    }
  }

  /** Ends every program and removes every namespace. */
  close(): Promise<void> {
    return this.net.close()
  }

  private cables(): void {
    const { client, director, destination, net } = this
    net.cable(
      { host: client, device: NEAR, mac: CLIENT_MAC },
      { host: director, device: NEAR, mac: DIRECTOR_MAC },
    )
    net.cable(
      { host: director, device: FAR, mac: DIRECTOR_FAR_MAC },
      { host: destination, device: NEAR, mac: DESTINATION_MAC },
    )
    net.cable({ host: client, device: FAR }, { host: destination, device: FAR })
  }

  private addresses(): void {
    const destinations = [DIRECT_ADDRESS, RETURNING_ADDRESS, ...MANY_DESTINATIONS]
    const near = (address: string, mac: string): string => neighbour(NEAR, address, mac)
    ipBatch(this.client, [
      `address add ${CLIENT_ADDRESS}/24 dev ${NEAR}`,
      `address add 198.18.2.254/24 dev ${FAR}`,
      'route add 198.18.1.0/24 via 198.18.0.254',
      ...['198.18.0.254', ...Object.values(VIRTUAL)].map((address) => near(address, DIRECTOR_MAC)),
    ])
    ipBatch(this.director, [
      `address add 198.18.0.254/24 dev ${NEAR}`,
      `address add 198.18.1.254/24 dev ${FAR}`,
      near(CLIENT_ADDRESS, CLIENT_MAC),
      ...destinations.map((address) => neighbour(FAR, address, DESTINATION_MAC)),
    ])
    ipBatch(this.destination, [
      ...destinations.map((address) => `address add ${address}/24 dev ${NEAR}`),
      `address add ${BYPASS_ADDRESS}/24 dev ${FAR}`,
      `address add ${VIRTUAL.dr}/32 dev lo`,
      `link set ${TUNNEL} up`,
      `address add ${VIRTUAL.tun}/32 dev ${TUNNEL}`,
      'route add 198.18.0.0/24 via 198.18.2.254',
      'route add 198.18.0.0/24 via 198.18.1.254 table 100',
      `rule add from ${RETURNING_ADDRESS} lookup 100`,
      near('198.18.1.254', DIRECTOR_FAR_MAC),
    ])
  }
}

/** Many `ip` commands inside a namespace, by one program. */
export function ipBatch(host: Host, lines: readonly string[]): void {
  const options = { input: `${lines.join('\n')}\n`, stdio: 'pipe' } as const
  execFileSync('ip', ['-n', host.namespace, '-batch', '-'], options)
}

function neighbour(device: string, address: string, mac: string): string {
  return `neighbour replace ${address} lladdr ${mac} dev ${device} nud permanent`
}
