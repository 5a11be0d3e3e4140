/**
 * A director with a fake data plane behind a real control socket, and the command line before it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { controlClient } from '../../src/control/api/client.js'
import type { ControlClient } from '../../src/control/api/client.js'
import { createRoutes } from '../../src/control/api/routes.js'
import { startApi } from '../../src/control/api/server.js'
import { runIpvsadm } from '../../src/control/cli/ipvsadm.js'
import type { Resolver } from '../../src/control/cli/resolver.js'
import { Director } from '../../src/control/director.js'
import { registerDataplaneMetrics } from '../../src/control/metrics/dataplane.js'
import { createRegistry } from '../../src/control/metrics/registry.js'
import { emptyConfig } from '../../src/control/model/config.js'
import { MAGLEV_INDEX_DEFAULT } from '../../src/control/model/maglev-size.js'
import { FakeClock, FakeDataplane, memoryLog } from '../support/fake-dataplane.js'
import type { MemoryLog } from '../support/fake-dataplane.js'

export interface CliResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface DaemonRig {
  readonly port: FakeDataplane
  readonly director: Director
  readonly client: ControlClient
  readonly clock: FakeClock
  readonly log: MemoryLog
  readonly socket: string
  /** Runs `ipvsadm WORDS...`, words separated by blanks. */
  ipvsadm(words: string, input?: string): Promise<CliResult>
  close(): Promise<void>
}

/** Numbers only: nothing outside the process is asked. */
export const NUMERIC: Resolver = {
  hostAddress: () => Promise.resolve(undefined),
  hostName: () => Promise.resolve(undefined),
  servicePort: () => undefined,
  serviceName: () => undefined,
}

/** `maglevIndex`: size of mh's tables; the default one unless given. */
export async function startRig(maglevIndex = MAGLEV_INDEX_DEFAULT): Promise<DaemonRig> {
  const directory = mkdtempSync(join(tmpdir(), 'uvs-test-'))
  const socket = join(directory, 'run', 'uvs.sock')
  const port = new FakeDataplane()
  const clock = new FakeClock()
  const log = memoryLog()
  const config = emptyConfig({
    services: 4096,
    destinations: 32768,
    localAddresses: 1024,
    maglevIndex,
  })
  const director = new Director({ port, config, clock, log, version: '0.0.0' })
  director.start()
  const registry = createRegistry()
  registerDataplaneMetrics({ registry, port, config: () => director.config, rates: director.rates })
  const metrics = async () => ({ text: await registry.metrics(), type: registry.contentType })
  const restartWorker = (worker: number) => port.restartWorker(worker)
  const routes = createRoutes({ director, metrics, restartWorker })
  const server = await startApi({ path: socket }, routes, log)
  const client = controlClient(socket)
  return {
    port,
    director,
    client,
    clock,
    log,
    socket,
    async ipvsadm(words, input = '') {
      let [stdout, stderr] = ['', '']
      const status = await runIpvsadm(
        words.split(' ').filter((word) => word !== ''),
        {
          program: 'ipvsadm',
          client,
          resolver: NUMERIC,
          out: (text) => (stdout += text),
          err: (text) => (stderr += text),
          readInput: () => Promise.resolve(input),
        },
      )
      return { status, stdout, stderr }
    },
    async close() {
      await server.close()
      await director.stop()
      rmSync(directory, { recursive: true })
    },
  }
}
