/** Gives a real server its end of tunnels of every type. */
import type { Host } from '../../support/namespace.js'
import { compiled } from './compiled.js'

/** The tunnel device of a real server; virtual addresses go on it. */
export const TUNNEL_DEVICE = 'tunl0'

/** Where it receives GUE. */
export const GUE_PORT = 6080

/**
 * Makes `tunl0` on a host, up and without reverse path filter, and opens it for IPv4 and IPv6
 * inside IPIP, GRE and GUE (port GUE_PORT) over IPv4 and IPv6. The kernels of many machines lack
 * the modules that would do it.
 */
export async function openTunnelEnd(host: Host): Promise<void> {
  const program = host.spawn([compiled('tunnel-end'), TUNNEL_DEVICE])
  await program.waitForOutput(/ready/)
  // 65535: the host's stack must accept what a sender's larger path allows.
  host.ip('link', 'set', TUNNEL_DEVICE, 'mtu', '65535', 'up')
  host.sysctl('net.ipv4.conf.all.rp_filter', 0)
  host.sysctl(`net.ipv4.conf.${TUNNEL_DEVICE}.rp_filter`, 0)
}
