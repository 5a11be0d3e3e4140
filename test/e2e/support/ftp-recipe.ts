/** vsftpd on real servers, and curl as its client. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Host } from '../../support/namespace.js'
import { curl } from './tools.js'

export const FTP_PORT = 21

/** Ports of passive data connections, as the recipe fixes them (pasv_min_port, pasv_max_port). */
export const PASSIVE_PORTS = { first: 10000, last: 20000 } as const

/** Every way in which a client opens the data connection, as options of curl. */
export const FTP_MODES = {
  EPSV: [],
  PASV: ['--disable-epsv'],
  EPRT: ['--ftp-port', '-'],
  PORT: ['--ftp-port', '-', '--disable-eprt'],
} as const

export type FtpMode = keyof typeof FTP_MODES

/** FTP servers that each serve one file, `name`, with the name of their host. */
export class FtpServers {
  readonly #folder = mkdtempSync(join(tmpdir(), 'uvs-ftp-'))

  constructor() {
    chmodSync(this.#folder, 0o755)
    mkdirSync(join(this.#folder, 'empty'))
  }

  /** Starts vsftpd on a host and waits for it. */
  async start(host: Host): Promise<void> {
    const root = join(this.#folder, host.name)
    mkdirSync(root)
    writeFileSync(join(root, 'name'), host.name)
    const file = join(this.#folder, `${host.name}.conf`)
    const settings = {
      listen: 'NO',
      listen_ipv6: 'YES',
      background: 'NO',
      anonymous_enable: 'YES',
      anon_root: root,
      no_anon_password: 'YES',
      connect_from_port_20: 'YES',
      pasv_min_port: PASSIVE_PORTS.first,
      pasv_max_port: PASSIVE_PORTS.last,
      secure_chroot_dir: join(this.#folder, 'empty'),
      xferlog_enable: 'NO',
      seccomp_sandbox: 'NO',
    }
    const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`)
    writeFileSync(file, lines.join(''))
    host.spawn(['vsftpd', file])
    await host.waitForTcp(FTP_PORT)
  }

  /** Removes their files. */
  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Fetches the file; resolves to the name of the server that sent it. */
export function fetchName(
  client: Host,
  address: string,
  mode: FtpMode,
  from: string,
): Promise<string> {
  const host = address.includes(':') ? `[${address}]` : address
  // Active: the address that the client tells the server is the one it comes from.
  const options = FTP_MODES[mode].map((word) => (word === '-' ? from : word))
  return curl(client, `ftp://${host}/name`, '--interface', from, ...options)
}
