/** Gives a real server its end of tunnels of every type. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Host } from '../../support/namespace.js'
import { ROOT } from './paths.js'

const SOURCE = join(ROOT, 'test/e2e/support/tunnel-end.cc')
const BINARY = join(ROOT, 'build/tunnel-end')

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
  const program = host.spawn([binary(), TUNNEL_DEVICE])
  await program.waitForOutput(/ready/)
  // 65535: the host's stack must accept what a sender's larger path allows.
  host.ip('link', 'set', TUNNEL_DEVICE, 'mtu', '65535', 'up')
  host.sysctl('net.ipv4.conf.all.rp_filter', 0)
  host.sysctl(`net.ipv4.conf.${TUNNEL_DEVICE}.rp_filter`, 0)
}

/** The compiled helper; compiled when its source is newer. */
function binary(): string {
  const fresh = existsSync(BINARY) && statSync(BINARY).mtimeMs > statSync(SOURCE).mtimeMs
  if (fresh) return BINARY
  mkdirSync(join(ROOT, 'build'), { recursive: true })
  const usual = spawnSync('g++', ['--version']).error ? 'clang++' : 'g++'
  const [compiler, ...words] = (process.env.CXX ?? usual).split(' ') // perhaps `ccache g++`
  // Renamed at the end: two runs at a time must not start half a file.
  const half = `${BINARY}.${process.pid}`
  execFileSync(compiler, [...words, '-std=c++20', '-O2', '-Wall', '-Wextra', '-o', half, SOURCE])
  renameSync(half, BINARY)
  return BINARY
}
