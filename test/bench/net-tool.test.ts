/** The benchmark's traffic program (bench/net/tool/) does what the figures take for granted. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  CLIENT_ADDRESS,
  CLIENT_MAC,
  DESTINATION_MAC,
  DIRECTOR_MAC,
  FAR,
  NEAR,
  NetLab,
  RETURNING_ADDRESS,
} from '../../bench/net/lab.js'
import { netTool } from '../../bench/net/tool.js'
import { type Host, type Program, requireNamespaces } from '../support/namespace.js'
import { waitFor } from '../support/wait.js'

const PORT = 7
const FLOWS = 100
const TIME_LIMIT_MS = 60_000 // the program may have to be compiled first

/** One counter of /proc/net/snmp. */
function counter(host: Host, protocol: string, name: string): number {
  const text = host.exec(['cat', '/proc/net/snmp'])
  const [names, values] = text.split('\n').filter((line) => line.startsWith(`${protocol}: `))
  const index = names.split(' ').indexOf(name)
  assert.ok(index > 0, `${protocol} ${name}`)
  return Number(values.split(' ')[index])
}

describe('net-tool', function () {
  this.timeout(TIME_LIMIT_MS)
  let lab: NetLab
  let tool: string

  before(function () {
    requireNamespaces(this)
    tool = netTool()
  })

  beforeEach(() => {
    lab = new NetLab()
  })

  afterEach(() => lab.close())

  const startEcho = async (): Promise<Program> => {
    const words = [`address=${RETURNING_ADDRESS}`, `port=${PORT}`]
    const echo = lab.destination.spawn([tool, 'echo', ...words])
    await echo.waitForOutput(/ready/)
    return echo
  }

  const startPlain = async (): Promise<Program> => {
    const words = [`from=${NEAR}`, `from-mac=${CLIENT_MAC}`, `to=${FAR}`]
    const plain = lab.director.spawn([tool, 'plain', ...words, `to-mac=${DESTINATION_MAC}`])
    await plain.waitForOutput(/ready/)
    return plain
  }

  const ping = (count: number): Promise<string> => {
    const words = [`to=${RETURNING_ADDRESS}`, `port=${PORT}`, 'bytes=32', `count=${count}`]
    return lab.client.expect([tool, 'ping', ...words])
  }

  it('refuses words it does not know, with status 2', () => {
    const run = (...words: string[]): [number | null, string] => {
      const { status, stderr } = spawnSync(tool, words, { encoding: 'utf8' })
      return [status, stderr]
    }
    assert.deepEqual(run('dance')[0], 2)
    assert.deepEqual(run('echo', 'loud'), [2, 'net-tool: not name=value: loud\n'])
    assert.deepEqual(run('echo', 'address=198.18.0.1'), [2, 'net-tool: missing: port=\n'])
    assert.equal(run('echo', 'address=198.18.0.1', 'port=0')[0], 2)
    assert.equal(run('echo', 'address=nowhere', 'port=7')[0], 2)
  })

  it('measures round trips, in order and without loss', async () => {
    lab.forwardInKernel()
    const echo = await startEcho()
    const result = JSON.parse(await ping(300)) as Record<string, number>
    assert.equal(await echo.stop(), 0)
    assert.equal(result.count, 300)
    assert.equal(result.lost, 0)
    assert.ok(result.p50 > 0 && result.p50 <= result.p99 && result.p99 <= result.max)
    assert.ok(result.average <= result.max)
  })

  it('says that the path is broken when nobody answers', async () => {
    // The director's host does not forward.
    const words = [`to=${RETURNING_ADDRESS}`, `port=${PORT}`, 'bytes=32', 'count=10']
    const { status, stderr } = await lab.client.run([tool, 'ping', ...words])
    assert.equal(status, 1)
    assert.match(stderr, /the path is broken/)
  })

  const startTcpEcho = async (): Promise<Program> => {
    const words = [`address=${RETURNING_ADDRESS}`, `port=${PORT}`]
    const echo = lab.destination.spawn([tool, 'tcp-echo', ...words])
    await echo.waitForOutput(/ready/)
    return echo
  }

  const paced = (rate: number, millis: number): string[] => {
    const path = [`to=${RETURNING_ADDRESS}`, `port=${PORT}`, 'connections=8']
    return [tool, 'paced', ...path, 'bytes=64', `rate=${rate}`, `millis=${millis}`]
  }

  it('paces requests over kept TCP connections, each answered', async () => {
    lab.forwardInKernel()
    const echo = await startTcpEcho()
    const opened = counter(lab.client, 'Tcp', 'ActiveOpens')
    const startMs = performance.now()
    const result = JSON.parse(await lab.client.expect(paced(1000, 500))) as Record<string, number>
    // The warm-up is not counted, but takes its time.
    assert.ok(performance.now() - startMs >= 690)
    assert.equal(result.count, 500)
    assert.equal(counter(lab.client, 'Tcp', 'ActiveOpens') - opened, 8)
    assert.ok(result.p50 > 0 && result.p50 <= result.p99 && result.p99 <= result.max)
    assert.equal(await echo.stop(), 0)
  })

  it('counts a stall for every request that was due meanwhile', async () => {
    lab.forwardInKernel()
    const echo = await startTcpEcho()
    const run = lab.client.run(paced(1000, 1500))
    // Each request makes two segments at most, so the 200 of the warm-up are over by then.
    await waitFor('the warm-up to be over', () => counter(lab.destination, 'Tcp', 'InSegs') > 600)
    echo.signal('SIGSTOP')
    const stoppedMs = performance.now()
    await waitFor('requests that nobody answers', () => performance.now() - stoppedMs > 700)
    echo.signal('SIGCONT')
    const { status, stdout, stderr } = await run
    assert.equal(status, 0, stderr)
    const { average, p50, max, count } = JSON.parse(stdout) as Record<string, number>
    assert.equal(count, 1500)
    assert.ok(max > 650_000, stdout)
    // One at a time on each connection would be eight slow requests; here about 700 waited, from 0
    // to 700 ms.
    assert.ok(average > 100_000 && p50 < max / 2, stdout)
  })

  it('says so when a connection is refused', async () => {
    lab.forwardInKernel()
    const refused = await lab.client.run(paced(1000, 100))
    assert.deepEqual(
      [refused.status, refused.stderr],
      [1, 'net-tool: connect: Connection refused\n'],
    )
  })

  it('forwards plainly in both directions, and the kernel does not', async () => {
    lab.forwardInKernel()
    const forwarded = counter(lab.director, 'Ip', 'ForwDatagrams')
    const plain = await startPlain()
    const echo = await startEcho()
    const { lost } = JSON.parse(await ping(100)) as { lost: number }
    await echo.stop()
    assert.equal(await plain.stop(), 0)
    assert.equal(lost, 0)
    assert.equal(counter(lab.director, 'Ip', 'ForwDatagrams'), forwarded)
    const counts = JSON.parse(plain.stdout.replace('ready', '')) as Record<string, number>
    // 100 requests and the warm-up, and an answer to each.
    assert.equal(counts.forwarded, 2 * 300)
    assert.equal(counts.lost, 0)
    const filters = lab.director.exec(['tc', 'filter', 'show', 'dev', NEAR, 'ingress'])
    assert.equal(filters.trim(), '')
  })

  it('floods with frames whose checksums are right, for the time it was given', async () => {
    const { director } = lab
    director.exec(['ethtool', '-K', NEAR, 'gro', 'on'])
    // Nobody listens there: the director's stack counts the good ones, and the bad ones apart.
    const path = [`device=${NEAR}`, `to-mac=${DIRECTOR_MAC}`, `from=${CLIENT_ADDRESS}`]
    const load = ['to=198.18.0.254', 'port=9000', `flows=${FLOWS}`, 'millis=50']
    const before = counter(director, 'Udp', 'NoPorts')
    const text = await lab.client.expect([tool, 'flood', ...path, ...load])
    const { made, seconds } = JSON.parse(text) as { made: number; seconds: number }
    const arrived = counter(director, 'Udp', 'NoPorts') - before
    assert.ok(seconds >= 0.05)
    assert.ok(arrived > 1000 && arrived <= made, `${arrived} of ${made}`)
    assert.equal(counter(director, 'Udp', 'InCsumErrors'), 0)
    assert.equal(counter(director, 'Udp', 'InErrors'), 0)
    assert.equal(counter(director, 'Ip', 'InHdrErrors'), 0)
  })

  it('makes as many SYNs as told, each of another client, with right checksums', async () => {
    const { director } = lab
    director.exec(['ethtool', '-K', NEAR, 'gro', 'on'])
    director.sysctl('net.ipv4.tcp_syncookies', 0)
    const count = 2000
    const filter = ['-c', String(count), 'tcp[tcpflags] == tcp-syn']
    const capture = director.spawn([
      'tcpdump',
      '-i',
      NEAR,
      '-n',
      '-l',
      '-v',
      '-B',
      '8192',
      ...filter,
    ])
    await capture.waitForOutput(/listening/)
    const path = [`device=${NEAR}`, `to-mac=${DIRECTOR_MAC}`, 'from=198.19.0.0']
    const load = ['to=198.18.0.254', 'port=9000', `count=${count}`, 'pps=100000', 'burst=64']
    const text = await lab.client.expect([tool, 'syn-flood', ...path, ...load])
    assert.equal((JSON.parse(text) as { made: number }).made, count)
    await capture.ended()
    const clients = capture.stdout.match(/198\.19\.\d+\.\d+\.\d+(?= > )/g) ?? []
    assert.equal(clients.length, count)
    // Two of them are the same with a chance of one in two thousand; three are not.
    assert.ok(new Set(clients).size >= count - 1, `${new Set(clients).size}`)
    assert.equal(capture.stdout.match(/\(correct\)/g)?.length, count)
    assert.equal(counter(director, 'Ip', 'InHdrErrors'), 0)
    assert.equal(counter(director, 'Tcp', 'InCsumErrors'), 0)
  })

  it('spreads a flood over its flows', async () => {
    const { director } = lab
    director.exec(['ethtool', '-K', NEAR, 'gro', 'on'])
    const capture = director.spawn(['tcpdump', '-i', NEAR, '-n', '-l', '-c', '5000', 'udp'])
    await capture.waitForOutput(/listening/)
    const path = [`device=${NEAR}`, `to-mac=${DIRECTOR_MAC}`, `from=${CLIENT_ADDRESS}`]
    const load = ['to=198.18.0.254', 'port=9000', `flows=${FLOWS}`, 'millis=50']
    await lab.client.expect([tool, 'flood', ...path, ...load])
    await capture.ended()
    const ports = new Set(capture.stdout.match(/(?<=198\.18\.0\.1\.)\d+(?= >)/g)?.map(Number))
    // 5000 draws from 100: to miss one has a chance of 1e-20.
    assert.equal(ports.size, FLOWS)
    assert.equal(Math.min(...ports), 1024)
    assert.equal(Math.max(...ports), 1024 + FLOWS - 1)
  })
})
