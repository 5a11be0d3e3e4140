/**
 * The network of the benchmark, the same for every contender:
 *
 *   client eth0 198.18.0.1 --- eth0 198.18.0.254 director 198.18.1.254 eth1 --- eth0 destination
 *          eth1 198.18.2.254 ------------------------------------------- 198.18.2.1 eth1
 *
 * The destination has 198.18.1.1, whose answers take the cable straight to the client (what direct
 * routing and tunnels are for), and 198.18.1.2, whose answers go back through the director (NAT and
 * routing). Virtual addresses are in 198.18.0.0/24, so the director answers for them. veth pairs
 * with their default offloads; link addresses are fixed, so that nothing has to be resolved.
 */
import { openTunnelEnd, TUNNEL_DEVICE } from '../../test/e2e/support/tunnel-end.js'
import { type Host, TestNetwork } from '../../test/support/namespace.js'

export const NEAR = 'eth0'
export const FAR = 'eth1'

export const CLIENT_ADDRESS = '198.18.0.1'
export const CLIENT_MAC = '02:00:00:00:00:01'
export const DIRECTOR_MAC = '02:00:00:00:00:fe'
export const DESTINATION_MAC = '02:00:00:00:01:01'
const DIRECTOR_NEAR = '198.18.0.254'
const DIRECTOR_FAR = '198.18.1.254'
const DIRECTOR_FAR_MAC = '02:00:00:00:01:fe'
const BYPASS_CLIENT = '198.18.2.254'
const BYPASS_DESTINATION = '198.18.2.1'

/** Answers straight to the client. */
export const DIRECT_ADDRESS = '198.18.1.1'
/** Answers through the director. */
export const RETURNING_ADDRESS = '198.18.1.2'
/** FULLNAT's, as `--lip` takes them; routed, because a TUN device cannot answer ARP for them. */
export const LOCAL_ADDRESSES = '198.18.3.1-198.18.3.4'
const LOCAL_PREFIX = '198.18.3.0/28'
export const VIRTUAL_ADDRESS = '198.18.0.200'

export class NetLab {
  readonly client: Host
  readonly director: Host
  readonly destination: Host
  private readonly net = new TestNetwork()

  constructor() {
    this.client = this.net.host('client')
    this.director = this.net.host('director')
    this.destination = this.net.host('dest')
    for (const host of [this.client, this.director, this.destination]) quietHost(host)
    this.cables()
    this.routes()
    // wrk opens tens of thousands of connections per second from one address.
    this.client.sysctl('net.ipv4.ip_local_port_range', '1024 65535')
    this.destination.sysctl('net.core.somaxconn', 4096)
  }

  /** The director's host forwards: the contender `ip_forward`; and TUN devices need it. */
  forwardInKernel(): void {
    this.director.sysctl('net.ipv4.ip_forward', 1)
  }

  /** The destination takes the virtual address: on lo, or at the end of a tunnel. */
  async acceptVirtual(method: string): Promise<void> {
    if (method === 'tun') await openTunnelEnd(this.destination)
    if (method !== 'dr' && method !== 'tun') return
    const device = method === 'dr' ? 'lo' : TUNNEL_DEVICE
    this.destination.address(`${VIRTUAL_ADDRESS}/32`, device)
  }

  /** Frames that the destination has received from the director so far. */
  received(): number {
    const file = `/sys/class/net/${NEAR}/statistics/rx_packets`
    return Number(this.destination.exec(['cat', file]))
  }

  /** Ends every program and removes every namespace. */
  close(): Promise<void> {
    return this.net.close()
  }

  private cables(): void {
    const { client, director, destination } = this
    this.net.cable(
      { host: client, device: NEAR, mac: CLIENT_MAC, addresses: [`${CLIENT_ADDRESS}/24`] },
      { host: director, device: NEAR, mac: DIRECTOR_MAC, addresses: [`${DIRECTOR_NEAR}/24`] },
    )
    const own = [`${DIRECT_ADDRESS}/24`, `${RETURNING_ADDRESS}/24`]
    this.net.cable(
      { host: director, device: FAR, mac: DIRECTOR_FAR_MAC, addresses: [`${DIRECTOR_FAR}/24`] },
      { host: destination, device: NEAR, mac: DESTINATION_MAC, addresses: own },
    )
    this.net.cable(
      { host: client, device: FAR, addresses: [`${BYPASS_CLIENT}/24`] },
      { host: destination, device: FAR, addresses: [`${BYPASS_DESTINATION}/24`] },
    )
  }

  private routes(): void {
    const { client, director, destination } = this
    client.route(`198.18.1.0/24 via ${DIRECTOR_NEAR}`)
    destination.route(`${LOCAL_PREFIX} via ${DIRECTOR_FAR}`)
    destination.route(`198.18.0.0/24 via ${BYPASS_CLIENT}`)
    destination.route(`198.18.0.0/24 via ${DIRECTOR_FAR} table 100`)
    destination.ip('rule', 'add', 'from', RETURNING_ADDRESS, 'lookup', '100')
    fixNeighbour(client, NEAR, DIRECTOR_NEAR, DIRECTOR_MAC)
    fixNeighbour(client, NEAR, VIRTUAL_ADDRESS, DIRECTOR_MAC)
    fixNeighbour(director, NEAR, CLIENT_ADDRESS, CLIENT_MAC)
    for (const address of [DIRECT_ADDRESS, RETURNING_ADDRESS]) {
      fixNeighbour(director, FAR, address, DESTINATION_MAC)
    }
    fixNeighbour(destination, NEAR, DIRECTOR_FAR, DIRECTOR_FAR_MAC)
  }
}

function fixNeighbour(host: Host, device: string, address: string, mac: string): void {
  host.ip('neighbour', 'replace', address, 'lladdr', mac, 'dev', device, 'nud', 'permanent')
}

/** No answers for addresses of another cable, no filter against the shortcut, no IPv6 noise. */
function quietHost(host: Host): void {
  for (const scope of ['all', 'default']) {
    host.sysctl(`net.ipv4.conf.${scope}.rp_filter`, 0)
    host.sysctl(`net.ipv6.conf.${scope}.disable_ipv6`, 1)
  }
  host.sysctl('net.ipv4.conf.all.arp_ignore', 1)
}
