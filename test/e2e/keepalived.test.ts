/**
 * Debian's own keepalived, carried by `uvs shim`, with the director in place of the kernel's IPVS:
 * its services appear, its checkers take destinations out and in, its VRRP starts the
 * synchronisation daemon, and at its end everything of it is gone.
 *
 *   director (keepalived, VRRP on eth0) --- r1 (web on 80 and 8080), r2 (web on 80), r3
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { requireNamespaces } from '../support/namespace.js'
import type { Program } from '../support/namespace.js'
import { waitFor } from '../support/wait.js'
import { Director, type DestinationLine } from './support/director.js'
import { DEVICE, Lab } from './support/lab.js'
import { programPath, UVS } from './support/paths.js'

const VIRTUAL = '198.18.0.60'
const PORT = 8080
const CONFIGURATION = `
global_defs {
  router_id uvs
  lvs_sync_daemon ${DEVICE} V1 id 7
  script_user root
}
vrrp_instance V1 {
  state MASTER
  interface ${DEVICE}
  virtual_router_id 51
  priority 100
  advert_int 0.2
  version 3
  virtual_ipaddress {
    ${VIRTUAL}/32
  }
}
virtual_server ${VIRTUAL} 80 {
  delay_loop 1
  lb_algo wrr
  lb_kind NAT
  protocol TCP
  sorry_server 198.18.0.23 80
  real_server 198.18.0.21 ${PORT} {
    weight 3
    TCP_CHECK {
      connect_timeout 1
      retry 1
      delay_before_retry 1
    }
  }
}
virtual_server ${VIRTUAL} 81 {
  delay_loop 1
  lb_algo sh
  lb_kind DR
  persistence_timeout 50
  protocol TCP
  real_server 198.18.0.11 ${PORT} {
    weight 5
    inhibit_on_failure
    HTTP_GET {
      url {
        path /
        status_code 200
      }
      connect_timeout 1
      retry 1
      delay_before_retry 1
      connect_port ${PORT}
    }
  }
  real_server 198.18.0.12 ${PORT} {
    weight 2
    HTTP_GET {
      url {
        path /
        status_code 200
      }
      connect_timeout 1
      connect_port 80
    }
  }
}
`

describe('keepalived', function () {
  this.timeout(60_000)
  let lab: Lab
  let director: Director
  let keepalived: Program
  let web: Program

  before(async function () {
    requireNamespaces(this)
    lab = new Lab()
    await lab.startWebServers()
    director = await Director.start(lab.director)
  })

  after(async () => {
    await keepalived?.stop()
    await director?.stop()
    await lab?.close()
  })

  afterEach(function () {
    if (this.currentTest?.state !== 'failed') return
    console.log(`${keepalived?.stdout}${keepalived?.stderr}\n${director?.lastWords}`)
  })

  const startWeb = async () => {
    web = lab.reals[0].spawn([process.execPath, programPath('real-server'), 'r1', `${PORT}`])
    await lab.reals[0].waitForTcp(PORT)
  }

  const destinations = async (port: number): Promise<DestinationLine[]> => {
    const { status, stdout } = await director.tryIpvsadm('-L', '-n')
    assert.equal(status, 0)
    const block = stdout.split(/^(?=TCP|UDP|FWM)/m).find((b) => b.includes(`${VIRTUAL}:${port} `))
    const lines = (block ?? '').matchAll(/^ {2}-> (\S+) +(\S+) +(\d+) /gm)
    return [...lines].map(([, destination, forward, weight]) => ({
      destination,
      forward,
      weight: Number(weight),
      active: 0,
      inactive: 0,
    }))
  }

  /** `address weight` of each destination, sorted. */
  const weights = async (port: number): Promise<string> =>
    (await destinations(port))
      .map(({ destination, weight }) => `${destination} ${weight}`)
      .sort()
      .join(', ')

  const shows = (port: number, wanted: string) =>
    waitFor(
      `service ${port} to have: ${wanted}`,
      async () => {
        if (!keepalived.running) throw new Error('keepalived ended')
        return (await weights(port)) === wanted
      },
      15_000,
    )

  const UP = `198.18.0.11:81 5, 198.18.0.12:81 2`

  it('adds its services and destinations', async () => {
    await startWeb()
    const { folder } = director
    const file = join(folder, 'keepalived.conf')
    writeFileSync(file, CONFIGURATION)
    const pids = [
      ...['-p', join(folder, 'k.pid')],
      ...['-c', join(folder, 'kc.pid'), '-r', join(folder, 'kv.pid')],
    ]
    keepalived = lab.director.spawn(
      [UVS, 'shim', 'keepalived', '--dont-fork', '--log-console', '-D', '-f', file, ...pids],
      { env: director.environment() },
    )
    await shows(80, `198.18.0.21:${PORT} 3`)
    await shows(81, UP)
    const text = await director.ipvsadm('-L', '-n')
    assert.match(text, new RegExp(`^TCP +${VIRTUAL}:80 wrr`, 'm'))
    assert.match(text, new RegExp(`^TCP +${VIRTUAL}:81 sh persistent 50`, 'm'))
    assert.deepEqual(
      (await destinations(81)).map(({ forward }) => forward),
      ['Route', 'Route'],
    )
  })

  it('starts the synchronisation daemon when it becomes master', async () => {
    await waitFor(
      'the master daemon',
      async () => (await director.ipvsadm('-L', '--daemon')).startsWith('master'),
      15_000,
    )
    assert.match(
      await director.ipvsadm('-L', '--daemon'),
      /^master sync daemon \(mcast=eth0, syncid=7, .*\)\n$/,
    )
  })

  it('takes out what stops, or gives it weight 0, and puts in the sorry server', async () => {
    await web.stop()
    await shows(80, '198.18.0.23:80 1')
    await shows(81, '198.18.0.11:81 0, 198.18.0.12:81 2')
  })

  it('puts in what comes back', async () => {
    await startWeb()
    await shows(80, `198.18.0.21:${PORT} 3`)
    await shows(81, UP)
  })

  it('takes everything back when it is told to stop', async () => {
    keepalived.signal('SIGTERM')
    assert.equal(await keepalived.ended(), 0)
    const text = await director.ipvsadm('-L', '-n')
    assert.doesNotMatch(text, new RegExp(VIRTUAL))
    assert.equal(await director.ipvsadm('-L', '--daemon'), '')
  })
})
