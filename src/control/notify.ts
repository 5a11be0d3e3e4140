/**
 * Readiness for a service manager (sd_notify protocol). Node has no datagram Unix sockets, so the
 * message goes out through systemd-notify where that exists.
 */
import { execFile } from 'node:child_process'
import type { Log } from './log.js'

/** Does nothing unless NOTIFY_SOCKET is set. */
export function notifySystemd(state: string, log: Log): void {
  if (process.env.NOTIFY_SOCKET === undefined) return
  execFile('systemd-notify', [`--pid=${process.pid}`, state], (error) => {
    if (error !== null) log.warn(`could not tell the service manager ${state}: ${error.message}`)
  })
}
