/** FTP for tests: vsftpd on a real server, and what curl says about a transfer. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Host } from '../../support/namespace.js'
import { curl } from './tools.js'

/** How the data connection comes about, and curl's options that make it so. */
export const FTP_WAYS = {
  PASV: ['--ftp-pasv', '--disable-epsv', '--no-ftp-skip-pasv-ip'],
  EPSV: ['--ftp-pasv'],
  PORT: ['--ftp-port', '-', '--disable-eprt'],
  EPRT: ['--ftp-port', '-'],
} as const
export type FtpWay = keyof typeof FTP_WAYS

/** A folder whose `pub` anybody may read and write, to be served as `name`. */
export class FtpFolder {
  readonly path: string

  constructor(name: string) {
    this.path = mkdtempSync(join(tmpdir(), 'uvs-ftp-'))
    const pub = join(this.path, 'root', 'pub')
    mkdirSync(pub, { recursive: true, mode: 0o777 })
    writeFileSync(join(pub, 'name'), name)
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/**
 * Starts vsftpd on port 21 for both families, anonymous, uploads to `pub`, which is given to the
 * user that Debian's package makes for it. Passive ports are `passive` and the 999 above: servers
 * of one service must not have the same ones, because the second to announce one to a client takes
 * it.
 */
export async function startFtp(real: Host, folder: FtpFolder, passive: number): Promise<void> {
  const settings = {
    listen: 'NO',
    listen_ipv6: 'YES',
    background: 'NO',
    anonymous_enable: 'YES',
    anon_root: join(folder.path, 'root'),
    anon_upload_enable: 'YES',
    anon_umask: '022',
    anon_world_readable_only: 'NO',
    write_enable: 'YES',
    local_enable: 'NO',
    connect_from_port_20: 'YES',
    pasv_min_port: String(passive),
    pasv_max_port: String(passive + 999),
    seccomp_sandbox: 'NO',
    secure_chroot_dir: folder.path,
  }
  const file = join(folder.path, 'vsftpd.conf')
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`)
  writeFileSync(file, lines.join(''))
  await real.expect(['chown', 'ftp', join(folder.path, 'root', 'pub')])
  await real.expect(['chmod', '755', folder.path, join(folder.path, 'root')])
  real.spawn(['vsftpd', file])
  await real.waitForTcp(21)
}

/** Downloads the same file `times` times in one control connection; resolves to what came. */
export function download(
  client: Host,
  server: string,
  way: FtpWay,
  { file = 'name', times = 1 } = {},
): Promise<string> {
  const urls = Array.from({ length: times - 1 }, () => `ftp://${server}/pub/${file}`)
  return curl(client, `ftp://${server}/pub/${file}`, ...FTP_WAYS[way], ...urls)
}

/** Uploads a file from the client's disk under another name. */
export async function upload(
  client: Host,
  server: string,
  way: FtpWay,
  { from, to }: { from: string; to: string },
): Promise<void> {
  await curl(client, `ftp://${server}/pub/${to}`, ...FTP_WAYS[way], '--upload-file', from)
}
