/**
 * Who is compared on the host: uvs's NAT, the kernel's NAT by nftables, HAProxy and nginx as TCP
 * proxies, and the kernel's routing. Each has one thread at most, the network of net/lab.ts to
 * itself, and its documentation's advice for much traffic.
 */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  BULK_PORT,
  type Contender,
  director,
  ECHO_PORT,
  ipForward,
  type Started,
  startInLab,
  WEB_PORT,
} from '../net/contenders.js'
import { NEAR, type NetLab, RETURNING_ADDRESS, VIRTUAL_ADDRESS } from '../net/lab.js'
import { type ContenderName, PROXY_BUFFER_BYTES } from './plan.js'

const PORTS = [ECHO_PORT, WEB_PORT, BULK_PORT]
const BACKLOG = 4096
const PROXIED_MAX = 4096 // connections at a time; the loads have far fewer

/** What all of these have in common but `route`: clients use the virtual address. */
const BALANCED: Started = {
  target: VIRTUAL_ADDRESS,
  service: RETURNING_ADDRESS,
  forwarder: undefined,
  collections: undefined,
}

/** The kernel's NAT. Answers come back through the director, so that no source is translated. */
const nft: Contender = {
  name: 'nft',
  start: () =>
    startInLab((lab, folder) => {
      const rules = join(folder, 'rules.nft')
      writeFileSync(rules, nftRules())
      lab.director.exec(['nft', '-f', rules])
      lab.forwardInKernel()
      return Promise.resolve(BALANCED)
    }),
}

/** Spliced: data stays in the kernel, which takes it half the time per GB. */
const haproxy: Contender = {
  name: 'haproxy',
  start: () =>
    startInLab((lab, folder) => {
      const config = join(folder, 'haproxy.cfg')
      writeFileSync(config, haproxyConfig())
      return startProxy(lab, ['haproxy', '-db', '-q', '-f', config])
    }),
}

const nginx: Contender = {
  name: 'nginx',
  start: () =>
    startInLab((lab, folder) => {
      const config = join(folder, 'nginx.conf')
      writeFileSync(config, nginxConfig(folder, streamModule()))
      return startProxy(lab, ['nginx', '-p', folder, '-c', config, '-e', 'stderr'])
    }),
}

/** By their names in the figures. */
export const START: Readonly<Record<ContenderName, Contender>> = {
  uvs: director('af_packet', 'nat'),
  nft,
  haproxy,
  nginx,
  route: ipForward,
}

/** A program that ends connections to the virtual address and makes new ones to the destination. */
async function startProxy(lab: NetLab, command: readonly string[]): Promise<Started> {
  const { director: host } = lab
  host.address(`${VIRTUAL_ADDRESS}/32`, NEAR)
  // Its own connections need a port each, as the client's do.
  host.sysctl('net.ipv4.ip_local_port_range', '1024 65535')
  host.sysctl('net.core.somaxconn', BACKLOG)
  const forwarder = host.spawn(command)
  for (const port of PORTS) {
    try {
      await host.waitForTcp(port)
    } catch (error) {
      throw new Error(`${command[0]} does not listen\n${forwarder.stderr}`, { cause: error })
    }
  }
  return { ...BALANCED, forwarder }
}

function nftRules(): string {
  return `
    table ip nat {
      chain prerouting {
        type nat hook prerouting priority dstnat
        ip daddr ${VIRTUAL_ADDRESS} tcp dport { ${PORTS.join(', ')} } dnat to ${RETURNING_ADDRESS}
      }
    }
  `
}

function haproxyConfig(): string {
  const services = PORTS.map(
    (port) => `
listen port_${port}
  bind ${VIRTUAL_ADDRESS}:${port} backlog ${BACKLOG}
  server destination ${RETURNING_ADDRESS}:${port}`,
  )
  return `
global
  nbthread 1
  maxconn ${PROXIED_MAX}
  tune.pipesize ${PROXY_BUFFER_BYTES}
defaults
  mode tcp
  option splice-request
  option splice-response
  timeout connect 5s
  timeout client 60s
  timeout server 60s
${services.join('\n')}
`
}

function nginxConfig(folder: string, module: string | undefined): string {
  const servers = PORTS.map(
    (port) => `
      server {
        listen ${VIRTUAL_ADDRESS}:${port} reuseport backlog=${BACKLOG};
        proxy_pass ${RETURNING_ADDRESS}:${port};
      }`,
  )
  return `
    ${module === undefined ? '' : `load_module ${module};`}
    daemon off; master_process off; pid ${folder}/nginx.pid; error_log stderr crit;
    events { worker_connections ${2 * PROXIED_MAX}; }
    stream {
      access_log off;
      proxy_buffer_size ${PROXY_BUFFER_BYTES};
      ${servers.join('\n')}
    }
  `
}

/** nginx's stream module as a file; undefined where it is compiled in. */
function streamModule(): string | undefined {
  const { stderr: built } = spawnSync('nginx', ['-V'], { encoding: 'utf8' })
  if (!/--with-stream=dynamic/.test(built)) return undefined
  const folder = /--modules-path=(\S+)/.exec(built)?.[1]
  return folder === undefined ? undefined : join(folder, 'ngx_stream_module.so')
}
