/**
 * The world in which uvs is shown and tested: a client, a router, a director and real servers.
 *
 *   client 198.18.2.1..9 --- router 198.18.0.1 = br0 --- director 198.18.0.254   (one-armed)
 *          2001:db8:0:2::1          2001:db8::1  |                2001:db8::fe
 *                                                +------ r1 r2 r3 198.18.0.11.. and 198.18.0.21..
 *                                                                2001:db8::11.. and 2001:db8::21..
 *
 * Real servers answer clients through the router (what DR and TUN need), except from their second
 * addresses, whose default route is the director (what NAT needs). So all methods work at once.
 * Everything is a namespace of its own; the interfaces keep their default offloads.
 */
import { type Host, TestNetwork } from '../../support/namespace.js'
import { programPath } from './paths.js'
import { openTunnelEnd, TUNNEL_DEVICE } from './tunnel-end.js'

export const FAMILIES = [4, 6] as const
export type Family = (typeof FAMILIES)[number]

export const METHODS = ['nat', 'dr', 'tun', 'fullnat'] as const
export type Method = (typeof METHODS)[number]

/** ipvsadm's option for a method, and its name in the Forward column. */
export const METHOD_WORDS: Record<Method, { option: string; shown: string; title: string }> = {
  nat: { option: '-m', shown: 'Masq', title: 'NAT' },
  dr: { option: '-g', shown: 'Route', title: 'DR' },
  tun: { option: '-i', shown: 'Tunnel', title: 'TUN' },
  fullnat: { option: '-b', shown: 'FullNat', title: 'FULLNAT' },
}

export const WEB_PORT = 80
export const DEVICE = 'eth0'
const CLIENTS = 9

const LAN: Record<Family, { prefix: string; bits: number }> = {
  4: { prefix: '198.18.0.', bits: 24 },
  6: { prefix: '2001:db8::', bits: 64 },
}
const OUTSIDE: Record<Family, { prefix: string; bits: number }> = {
  4: { prefix: '198.18.2.', bits: 24 },
  6: { prefix: '2001:db8:0:2::', bits: 64 },
}

// The highest number of a small network: routers towards clients, and the director.
const lastOf = (family: Family): string => (family === 4 ? '254' : 'fe')

/** The n-th virtual address, n from 1 to 99. Configured on nobody until a test does. */
export function virtualAddress(family: Family, n: number): string {
  return family === 4 ? `${LAN[4].prefix}${100 + n}` : `2001:db8::1:${n}`
}

/** The main address of the i-th real server: default route by the router. i from 1. */
export function realAddress(family: Family, i: number): string {
  return `${LAN[family].prefix}1${i}`
}

/** Its second address, whose default route is the director. */
export function masqueradedAddress(family: Family, i: number): string {
  return `${LAN[family].prefix}2${i}`
}

/** The k-th address of the client, k from 1 to 9. */
export function clientAddress(family: Family, k = 1): string {
  return `${OUTSIDE[family].prefix}${k}`
}

/** Is it one of the client's? */
export function isClientAddress(address: string): boolean {
  return FAMILIES.some((family) => address.startsWith(OUTSIDE[family].prefix))
}

export function directorAddress(family: Family): string {
  return `${LAN[family].prefix}${lastOf(family)}`
}

export function routerAddress(family: Family): string {
  return `${LAN[family].prefix}1`
}

/** FULLNAT's local addresses, as `--lip` takes them. */
export const LOCAL_ADDRESSES = ['198.18.0.240-198.18.0.243', '2001:db8::f0-2001:db8::f3']

/** Is it one of the addresses LOCAL_ADDRESSES names? */
export function isLocalAddress(address: string): boolean {
  return /^198\.18\.0\.24[0-3]$|^2001:db8::f[0-3]$/.test(address)
}

/** `address:port` or `[address]:port`, as every tool writes it. */
export function endpoint(address: string, port: number = WEB_PORT): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/** The address a destination with this method has, for the i-th real server. */
export function destinationAddress(method: Method, family: Family, i: number): string {
  return method === 'nat' ? masqueradedAddress(family, i) : realAddress(family, i)
}

export interface LabOptions {
  /** How many real servers, 3 unless given. */
  reals?: number
  /** Maximum packet size on every cable of the LAN, 1500 unless given. */
  mtu?: number
}

/** The hosts and cables; `await lab.close()` removes them. */
export class Lab {
  readonly net = new TestNetwork()
  readonly client: Host
  readonly router: Host
  readonly director: Host
  /** Real server i is `reals[i - 1]`, and is called `r<i>`. */
  readonly reals: Host[] = []
  private readonly tunnelEnds = new Set<Host>()

  constructor(options: LabOptions = {}) {
    const mtu = options.mtu === undefined ? {} : { mtu: options.mtu }
    this.client = this.net.host('client')
    this.router = this.net.host('router')
    this.director = this.net.host('director')
    this.router.bridge('br0')
    for (const name of ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding']) {
      this.router.sysctl(name, 1)
      // As every LVS recipe wants it; the host would now forward or redirect what uvs does not
      // stop.
      this.director.sysctl(name, 1)
    }
    for (const family of FAMILIES) {
      this.router.address(`${routerAddress(family)}/${LAN[family].bits}`, 'br0')
    }
    this.cableClient()
    this.plug(this.director, FAMILIES.map(directorAddress), mtu)
    for (const family of FAMILIES) this.director.route(defaultVia(routerAddress(family)))
    for (let i = 1; i <= (options.reals ?? 3); i++) this.addReal(i, mtu)
  }

  /** Lets real servers accept a virtual address (DR: on lo; TUN: on their tunnel's end). */
  async acceptVirtual(method: Method, address: string): Promise<void> {
    if (method !== 'dr' && method !== 'tun') return
    const prefixed = `${address}/${address.includes(':') ? 128 : 32}`
    for (const real of this.reals) {
      if (method === 'tun' && !this.tunnelEnds.has(real)) {
        this.tunnelEnds.add(real)
        await openTunnelEnd(real)
      }
      real.address(prefixed, method === 'dr' ? 'lo' : TUNNEL_DEVICE)
    }
  }

  /** Starts the web server of real-server.ts on every real server and waits for it. */
  async startWebServers(ports: readonly number[] = [WEB_PORT]): Promise<void> {
    for (const real of this.reals) {
      real.spawn([process.execPath, programPath('real-server'), real.name, ...ports.map(String)])
    }
    for (const real of this.reals) for (const port of ports) await real.waitForTcp(port)
  }

  /** Removes everything. Safe to call twice. */
  close(): Promise<void> {
    return this.net.close()
  }

  private cableClient(): void {
    const addresses = FAMILIES.flatMap((family) =>
      Array.from({ length: CLIENTS }, (_, k) => {
        return `${clientAddress(family, k + 1)}/${OUTSIDE[family].bits}`
      }),
    )
    const gateways = FAMILIES.map((family) => `${OUTSIDE[family].prefix}${lastOf(family)}`)
    this.net.cable(
      { host: this.client, device: DEVICE, addresses },
      {
        host: this.router,
        device: 'client',
        addresses: FAMILIES.map((family, i) => `${gateways[i]}/${OUTSIDE[family].bits}`),
      },
    )
    for (const gateway of gateways) this.client.route(defaultVia(gateway))
  }

  private plug(host: Host, addresses: string[], options: { mtu?: number }): void {
    const families = addresses.map((address): Family => (address.includes(':') ? 6 : 4))
    const prefixed = addresses.map((address, i) => `${address}/${LAN[families[i]].bits}`)
    this.net.cable(
      { host, device: DEVICE, addresses: prefixed, ...options },
      { host: this.router, device: host.name, bridge: 'br0', ...options },
    )
  }

  private addReal(i: number, options: { mtu?: number }): void {
    const real = this.net.host(`r${i}`)
    this.reals.push(real)
    // The classic remedy: a real server must not say that it has the virtual address.
    real.sysctl('net.ipv4.conf.all.arp_ignore', 1)
    real.sysctl('net.ipv4.conf.all.arp_announce', 2)
    const addresses = FAMILIES.flatMap((family) => [
      realAddress(family, i),
      masqueradedAddress(family, i),
    ])
    this.plug(real, addresses, options)
    for (const family of FAMILIES) {
      // Its own packets leave from the main address, whichever the kernel would have preferred.
      const main = `${defaultVia(routerAddress(family))} src ${realAddress(family, i)}`
      real.route(main)
      real.route(`${defaultVia(directorAddress(family))} table 100`)
      const rule = ['rule', 'add', 'from', masqueradedAddress(family, i), 'lookup', '100']
      real.ip(...(family === 6 ? ['-6'] : []), ...rule)
    }
  }
}

function defaultVia(gateway: string): string {
  return `default via ${gateway}`
}
