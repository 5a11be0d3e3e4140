/** `uvs run` on this host: the real data plane, clock and signals. Loaded only for that command. */
import { readFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { LIMITS } from '../dataplane/layout.js'
import { defaultSocket } from './cli/uvs.js'
import { systemClock } from './clock.js'
import { starter } from './choose-dataplane.js'
import { startDataplane } from './dataplane.js'
import { syncQueueMax } from './host/memory.js'
import { startIpvsServer } from './ipvs-server/server.js'
import { runDaemon } from './main.js'
import { defaultSysctls } from './model/sysctls.js'
import { notifySystemd } from './notify.js'
import { probeKernel, releaseKernel, startKernelDataplane } from './offload/kernel-dataplane.js'

/** Runs the daemon; returns the exit status. */
export function run(argv: readonly string[]): Promise<number> {
  // A worker that only forwards makes no garbage; V8 would still collect to give memory back when
  // it looks idle, and packets would wait for it.
  setFlagsFromString('--no-memory-reducer')
  return runDaemon(argv, {
    startDataplane: starter(startDataplane, startKernelDataplane, releaseKernel),
    probeKernel,
    startIpvsServer,
    capacity: {
      services: LIMITS.SERVICES,
      destinations: LIMITS.DESTINATIONS,
      localAddresses: LIMITS.LOCAL_ADDRESSES,
    },
    sysctlDefaults: defaultSysctls(syncQueueMax()),
    clock: systemClock,
    defaultSocket: defaultSocket(),
    version: packageVersion(),
    stderrIsTerminal: process.stderr.isTTY,
    err: (text) => void process.stderr.write(text),
    notify: notifySystemd,
    untilStopped,
  })
}

function packageVersion(): string {
  const file = new URL('../../../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

/** SIGTERM and SIGINT end the program, SIGHUP reloads. */
function untilStopped(onReload: () => void): Promise<string> {
  return new Promise((resolve) => {
    process.once('SIGTERM', resolve)
    process.once('SIGINT', resolve)
    process.on('SIGHUP', onReload)
  })
}
