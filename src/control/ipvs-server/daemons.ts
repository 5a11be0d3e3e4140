/** The synchronisation daemons between the wire and the model (spec 8.2). Pure. */
import type { DaemonView } from '../api/views.js'
import { parseAddress } from '../model/address.js'
import type { Command } from '../model/commands.js'
import type { DaemonRole } from '../model/sync-daemon.js'
import { accept, refuse } from '../netlink/errno.js'
import type { WireResult } from '../netlink/errno.js'
import { DAEMON_STATE } from '../netlink/ipvs-types.js'
import type { WireDaemon } from '../netlink/ipvs-types.js'

function roleOf(state: number): DaemonRole | undefined {
  if (state === DAEMON_STATE.master) return 'master'
  return state === DAEMON_STATE.backup ? 'backup' : undefined
}

/** The command that starts a daemon; EINVAL for a state that is neither half. */
export function startOf(wire: WireDaemon): WireResult<Command> {
  const { state, ...daemon } = wire
  const role = roleOf(state)
  return role === undefined
    ? refuse('EINVAL')
    : accept({ kind: 'startDaemon', daemon: { ...daemon, role } })
}

/** The command that stops one; EINVAL for a state that is neither half. */
export function stopOf(state: number): WireResult<Command> {
  const role = roleOf(state)
  return role === undefined ? refuse('EINVAL') : accept({ kind: 'stopDaemon', role })
}

/** A running daemon as programs are shown it. */
export function wireDaemon(view: DaemonView): WireDaemon {
  const { role, group, ...rest } = view
  return { ...rest, state: DAEMON_STATE[role], group: parseAddress(group) }
}
