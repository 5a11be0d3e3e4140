/** Gives a real server its end of an IPIP tunnel: the kernel's where it has one, else our own. */
import type { Host } from '../../support/namespace.js'
import { compiled } from './compiled.js'

/** The tunnel device of a real server; virtual addresses go on it. */
export const TUNNEL_DEVICE = 'tunl0'

/**
 * Makes `tunl0` on a host, up and without reverse path filter, and opens it for IPv4 and IPv6
 * inside IPv4 and IPv6. The kernel's ipip module carries IPv4 in IPv4 only, so it is not enough.
 */
export async function openTunnelEnd(host: Host): Promise<void> {
  const program = host.spawn([compiled('tunnel-end'), TUNNEL_DEVICE])
  await program.waitForOutput(/ready/)
  // 65535: the host's stack must accept what a sender's larger path allows.
  host.ip('link', 'set', TUNNEL_DEVICE, 'mtu', '65535', 'up')
  host.sysctl('net.ipv4.conf.all.rp_filter', 0)
  host.sysctl(`net.ipv4.conf.${TUNNEL_DEVICE}.rp_filter`, 0)
}
