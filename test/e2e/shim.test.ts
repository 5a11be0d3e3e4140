/**
 * Debian's own ipvsadm, carried by `uvs shim`, against one director: every command line says, ends
 * and does exactly what ours says, ends and does on an equal state. And what else the preload
 * library carries: socket options, files, rights, several controllers at once.
 */
import assert from 'node:assert/strict'
import { chmodSync, copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { controlClient } from '../../src/control/api/client.js'
import type { ControlClient } from '../../src/control/api/client.js'
import { runIpvsadm } from '../../src/control/cli/ipvsadm.js'
import { shimLibrary } from '../../src/control/cli/shim.js'
import { ipvsSocketPath, PRIVATE } from '../../src/control/ipvs-server/private-protocol.js'
import { NUMERIC } from '../control/daemon-rig.js'
import { requireNamespaces } from '../support/namespace.js'
import { waitFor } from '../support/wait.js'
import { Director } from './support/director.js'
import { Lab, virtualAddress } from './support/lab.js'
import { UVS } from './support/paths.js'
import { HeldConnections } from './support/web.js'

const WEB = `${virtualAddress(4, 1)}:80`
const REAL = '198.18.0.21'
const SIX = '[2001:db8:0:1::99]:80'

/** The state before every line. The last destination of a service is listed first. */
const BASE = [
  `-A -t ${WEB} -s rr`,
  `-a -t ${WEB} -r ${REAL} -m -w 3 -x 100 -y 50`,
  `-a -t ${WEB} -r 198.18.0.22 -m`,
  '-A -u 198.18.0.77:53 -o',
  '-a -u 198.18.0.77:53 -r 198.18.0.11 -i',
  '-A -f 5 -s sh -p 120 -M 255.255.255.0 -b sh-port',
  '-a -f 5 -r 198.18.0.12:80 -g -w 0',
  `-A -t ${SIX} -s wlc -p 60 -M 64`,
  `-a -t ${SIX} -r [2001:db8::21]:80 -m`,
  '-A -f 6 -6',
]

/** Lists, on the same state; the marks of one list form with every service. */
const LISTS = [
  '-L -n',
  '-l -n',
  '-Ln --nosort',
  '-Ln --stats',
  '-Ln --stats -X',
  '-Ln --rate',
  '-Ln --rate -X',
  '-Ln --thresholds',
  '-Ln --persistent-conn',
  '-Ln --tun-info',
  `-Ln -t ${WEB}`,
  `-Ln -t ${SIX} --stats`,
  '-Ln -u 198.18.0.77:53 --tun-info',
  '-Ln -f 5 --persistent-conn',
  '-Ln -f 6 -6',
  '-Ln -t 198.18.0.1:1',
  '-Ln -f 99',
  '-L --timeout',
  '-L --daemon',
  '-L --timeout --stats',
  '-Lcn',
  '-Lcn --persistent-conn',
  '-S -n',
  '-h',
  '-v',
  '-L --bogus',
  '-n',
]

/** Lines that change something, or are refused. */
const CHANGES = [
  '-A -t 198.18.0.9:81',
  '-A -t 198.18.0.9:81 -s wrr -p 600 -M 255.255.0.0',
  '-A -u 198.18.0.9:81 -o -s rr',
  '-A -t [2001:db8::9]:443 -s sh -b sh-port,sh-fallback',
  '-A -t [2001:db8::9]:443 -p 30 -M 48',
  '-A -f 4294967295',
  '-A -f 7 -6 -s lc',
  `-A -t ${WEB}`,
  '-A -f 5',
  '-A -t 198.18.0.9:81 -s nosuch',
  '-A -t 198.18.0.9:81 -p 9 --pe sip',
  '-A -t 198.18.0.9:0',
  '-A -t 198.18.0.9:81 -w 5',
  `-E -t ${WEB} -s lc -p 77`,
  `-E -t ${WEB}`,
  '-E -f 5 -s wlc -b flag-1,flag-3',
  '-E -t 198.18.0.9:81',
  `-E -t ${WEB} -s nosuch`,
  `-D -t ${WEB}`,
  '-D -f 6 -6',
  '-D -f 6',
  '-D -u 198.18.0.9:81',
  '-C',
  `-a -t ${WEB} -r 198.18.0.23:8080 -m -w 5`,
  `-a -t ${WEB} -r 198.18.0.13 -g -x 9 -y 8`,
  `-a -t ${WEB} -r 198.18.0.13 -i`,
  `-a -t ${WEB} -r 198.18.0.13 -i --tun-type gue`,
  `-a -t ${WEB} -r [2001:db8::13] -i`,
  `-a -t ${WEB} -r [2001:db8::13]:80 -m`,
  `-a -t ${SIX} -r [2001:db8::13]:80 -m`,
  `-a -t ${SIX} -r [fe80::1]:80 -m`,
  `-a -t ${WEB} -r ${REAL} -m`,
  `-a -t ${WEB} -r 224.0.0.5 -m`,
  `-a -t ${WEB} -r 198.18.0.13 -m -x 1 -y 2`,
  `-a -t 198.18.0.9:81 -r ${REAL} -m`,
  `-a -t ${WEB} -r 198.18.0.13 -m -w 70000`,
  `-e -t ${WEB} -r ${REAL} -m -w 0`,
  `-e -t ${WEB} -r ${REAL} -m -w 65535 -x 7 -y 3`,
  `-e -t ${WEB} -r ${REAL} -g`,
  `-e -t ${WEB} -r 198.18.0.13 -m`,
  `-e -t 198.18.0.9:81 -r ${REAL} -m`,
  '-e -u 198.18.0.77:53 -r 198.18.0.11 -i',
  `-d -t ${WEB} -r ${REAL}`,
  `-d -t ${WEB} -r 198.18.0.13`,
  `-d -t 198.18.0.9:81 -r ${REAL}`,
  `-d -t ${SIX} -r [2001:db8::21]:80`,
  `-d -t ${WEB} -r [2001:db8::21]:80`,
  '-Z',
  `-Z -t ${WEB}`,
  '-Z -t 198.18.0.9:81',
  '--set 1 2 3',
  '--set 0 0 77',
  '--set 1 2',
  '--set 2678400 2678400 2678400',
  '--set 2678401 1 1',
  '--start-daemon master --mcast-interface eth0 --syncid 9',
  '--start-daemon backup --mcast-interface eth0 --sync-maxlen 2000 --mcast-port 9999 --mcast-ttl 4',
  '--start-daemon backup --mcast-interface eth0 --mcast-group 239.0.0.1',
  '--start-daemon master --mcast-interface eth0 --mcast-group ff05::81',
  '--start-daemon master --mcast-interface none0',
  '--stop-daemon master',
  '--stop-daemon backup',
]

/** What -R reads; refusals in the middle. */
const RULES = [
  `-D -t ${WEB}`,
  `-D -t ${WEB}`,
  '-A -t 198.18.0.9:82 -s rr',
  '-a -t 198.18.0.9:82 -r 198.18.0.13 -m -w 4',
  '-a -t 198.18.0.9:83 -r 198.18.0.13 -m -w 4',
  '',
]

interface Said {
  status: number
  stdout: string
  stderr: string
}

describe('uvs shim', function () {
  this.timeout(90_000)
  let lab: Lab
  let director: Director
  let client: ControlClient
  let environment: NodeJS.ProcessEnv
  let held: HeldConnections | undefined

  before(async function () {
    requireNamespaces(this)
    lab = new Lab()
    await lab.startWebServers()
    director = await Director.start(lab.director, { workers: 2 })
    client = controlClient(join(director.folder, 'uvs.sock'))
    const lines = (await director.uvs('shim', '--env')).trim().split('\n')
    const carried = Object.fromEntries(lines.map((line) => line.split(/=(.*)/s)))
    environment = { ...director.environment(), ...carried }
  })

  after(async () => {
    await held?.close()
    await director?.stop()
    await lab?.close()
  })

  afterEach(function () {
    if (this.currentTest?.state === 'failed') console.log(director?.lastWords)
  })

  const words = (line: string) => line.split(' ').filter((word) => word !== '')

  const original = (line: string, input = ''): Promise<Said> =>
    lab.director.run(['ipvsadm', ...words(line)], { env: environment, input })

  /** What bin/ipvsadm runs, without a process for each line. */
  async function ours(line: string, input = ''): Promise<Said> {
    let [stdout, stderr] = ['', '']
    const status = await runIpvsadm(words(line), {
      program: 'ipvsadm',
      client,
      resolver: NUMERIC,
      out: (text) => (stdout += text),
      err: (text) => (stderr += text),
      readInput: () => Promise.resolve(input),
    })
    return { status, stdout, stderr }
  }

  async function reset(): Promise<void> {
    const { daemons } = await client.info()
    await client.execute([
      { kind: 'flush' },
      { kind: 'setTimeouts', timeouts: { tcpSec: 900, tcpFinSec: 120, udpSec: 300 } },
      ...daemons.map(({ role }) => ({ kind: 'stopDaemon', role }) as const),
    ])
    assert.deepEqual(await ours('-R', `${BASE.join('\n')}\n`), {
      status: 0,
      stdout: '',
      stderr: '',
    })
  }

  const state = async () => ({ services: await client.services(), info: await client.info() })

  describe('ipvsadm, lists', () => {
    before(async () => {
      await reset()
      const task = { url: `http://${WEB}/`, requests: 4, limitMs: 5000 }
      ;[held] = await HeldConnections.open(lab.client, task)
      await waitFor('the traffic to be counted', async () =>
        (await client.services()).some(({ stats }) => stats.connections === '4'),
      )
      // From here on the counters stand still.
      await client.execute([{ kind: 'setSysctl', name: 'run_estimation', value: '0' }])
    })

    // Two lists are not taken in the same second.
    const timeless = ({ stdout, ...rest }: Said) => ({
      ...rest,
      stdout: stdout.replace(/^((TCP|UDP|IP) +)\d\d:\d\d/gm, '$1--:--'),
    })

    for (const line of LISTS) {
      it(`ipvsadm ${line}`, async () => {
        const [theirs, own] = [await original(line), await ours(line)]
        assert.deepEqual(timeless(theirs), timeless(own))
      })
    }

    it('shows the connections that are there', async () => {
      const { stdout } = await original('-Lcn')
      assert.equal(stdout.match(/^TCP .* ESTABLISHED /gm)?.length, 4)
      assert.match((await original('-Ln --stats')).stdout, /^TCP +198\.18\S+ +4 /m)
    })

    it('a program that asks for the connections and leaves ends nobody else', async () => {
      chmodSync(director.folder, 0o755)
      const script = `
import os, socket, struct, sys
os.setgid(65534); os.setuid(65534)
path = b'/proc/net/ip_vs_conn'
for i in range(500):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(sys.argv[1])
    try:
        s.send(struct.pack('<IHHII', 16 + len(path), ${PRIVATE.READ_FILE}, 0, 0, 0) + path)
        s.recv(64)
    except ConnectionError:
        pass # more at a time than it takes
    s.close()
`
      const socket = ipvsSocketPath(join(director.folder, 'uvs.sock'))
      await lab.director.expect(['python3', '-c', script, socket])
      const { stdout } = await original('-Lcn')
      assert.equal(stdout.match(/^TCP .* ESTABLISHED /gm)?.length, 4)
    })

    it('the same through the programs themselves', async () => {
      for (const line of ['-Ln', '-Ln --stats']) {
        const theirs = await lab.director.run([UVS, 'shim', 'ipvsadm', ...words(line)], {
          env: director.environment(),
        })
        assert.deepEqual(theirs, await director.tryIpvsadm(...words(line)))
      }
    })
  })

  describe('ipvsadm, changes', () => {
    const compare = async (line: string, input?: string) => {
      await reset()
      const theirs = { ...(await original(line, input)), ...(await state()) }
      await reset()
      const own = { ...(await ours(line, input)), ...(await state()) }
      assert.deepEqual(theirs, own)
      return theirs
    }

    for (const line of CHANGES) it(`ipvsadm ${line}`, () => compare(line).then(() => undefined))

    it('ipvsadm -R goes on after a refusal', async () => {
      const { status, services } = await compare('-R', RULES.join('\n'))
      assert.equal(status, 255)
      assert.ok(services.some(({ port }) => port === 82))
    })

    it('a daemon can be listed, started once, stopped once', async () => {
      await reset()
      const start = '--start-daemon master --mcast-interface eth0'
      assert.equal((await original(start)).status, 0)
      assert.deepEqual(await original(start), await ours(start))
      assert.deepEqual(await original('-L --daemon'), await ours('-L --daemon'))
      assert.match((await original('-L --daemon')).stdout, /^master sync daemon \(mcast=eth0/)
      assert.equal((await original('--stop-daemon master')).status, 0)
    })

    it('what it saves, it restores', async () => {
      await reset()
      const saved = (await original('-S -n')).stdout
      assert.deepEqual(await original('-C'), { status: 0, stdout: '', stderr: '' })
      assert.deepEqual(await original('-R', saved), { status: 0, stdout: '', stderr: '' })
      assert.equal((await ours('-S -n')).stdout, saved)
    })
  })

  it('two controllers at a time lose nothing', async () => {
    await client.execute([{ kind: 'flush' }])
    const rules = (network: number) =>
      Array.from({ length: 50 }, (_, i) => [
        `-A -t 198.18.${network}.1:${i + 1} -s rr`,
        `-a -t 198.18.${network}.1:${i + 1} -r ${REAL}:80 -m`,
      ])
        .flat()
        .join('\n')
    const both = await Promise.all([10, 11].map((network) => original('-R', `${rules(network)}\n`)))
    assert.deepEqual(
      both.map(({ status, stderr }) => [status, stderr]),
      [
        [0, ''],
        [0, ''],
      ],
    )
    const services = await client.services()
    assert.equal(services.length, 100)
    assert.ok(services.every(({ destinations }) => destinations.length === 1))
  })

  it('an unprivileged program may read files and nothing else', async () => {
    await reset()
    const { folder } = director
    chmodSync(folder, 0o755)
    const library = join(folder, 'shim.so')
    copyFileSync(shimLibrary(), library)
    const env = { ...environment, LD_PRELOAD: library }
    const nobody = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups']
    const before = await state()
    for (const line of ['-Ln', '-C', `-D -t ${WEB}`]) {
      const { status, stdout, stderr } = await lab.director.run(
        [...nobody, 'ipvsadm', ...words(line)],
        { env },
      )
      assert.deepEqual([status, stdout], [2, ''])
      assert.match(stderr, /^Can't initialize ipvs: Permission denied \(you must be root\)$/m)
    }
    assert.deepEqual(await state(), before)
    const text = await lab.director.expect([...nobody, 'cat', '/proc/net/ip_vs'], { env })
    assert.match(text, /^IP Virtual Server version 1\.2\.1 \(size=\d+\)\nProt /)
  })

  const python = (script: string, env = environment) =>
    lab.director.run(['python3', '-c', script], { env })

  it('socket options, and files as a program without netlink reads them', async () => {
    await reset()
    const script = `
import socket, struct, errno
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
version = s.getsockopt(0, 1152, 64)
count = struct.unpack('III', s.getsockopt(0, 1153, 12))[2]
service = struct.pack('<H2x4sH2xI16sIII', 6, socket.inet_aton('198.18.0.50'), socket.htons(99), 0,
                      b'rr', 0, 0, 0xffffffff)
s.setsockopt(0, 1154, service)
try:
    s.setsockopt(0, 1154, service)
except OSError as error:
    print(errno.errorcode[error.errno])
print(version.decode().rstrip('\\0'), count, struct.unpack('III', s.getsockopt(0, 1153, 12))[2])
print(len([line for line in open('/proc/net/ip_vs') if line.startswith('TCP')]))
print(open('/proc/sys/net/ipv4/vs/sync_threshold').read())
`
    const { stdout, stderr } = await python(script)
    assert.match(
      stdout,
      /^EEXIST\nIP Virtual Server version 1\.2\.1 \(size=\d+\) 3 4\n3\n3\t50\n\n$/,
      stderr,
    )
  })

  it('a program that uses netlink without a library', async () => {
    const script = `
import socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
s.bind((0, 0))
name = s.getsockname()
def ask(kind, command, attributes=b''):
    head = struct.pack('<IHHIIBBH', 20 + len(attributes), kind, 1, 7, name[0], command, 1, 0)
    s.sendto(head + attributes, (0, 0))
    whole = len(s.recv(1, socket.MSG_PEEK | socket.MSG_TRUNC))
    data, sender = s.recvfrom(65536)
    return struct.unpack_from('<HHIIB', data, 4), sender, whole == len(data)
family = ask(16, 3, struct.pack('<HH', 9, 2) + b'IPVS\\0\\0\\0\\0')
print(family == ((16, 0, 7, name[0], 1), (0, 0), True))
s.setsockopt(270, 10, 1)
print(ask(1020, 15) == ((1020, 0, 7, name[0], 14), (0, 0), True), s.getsockname() == name)
`
    const { stdout, stderr } = await python(script)
    assert.deepEqual([stdout, stderr], ['True\nTrue True\n', ''])
  })

  it('without a director: as on a kernel that has no IPVS', async () => {
    const env = { ...environment, UVS_SOCKET: join(director.folder, 'nobody.sock') }
    const script = `
import socket, struct, errno
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
def refused(call):
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno]
print(refused(lambda: s.getsockopt(0, 1152, 64)), refused(lambda: s.setsockopt(0, 1157, b'')),
      refused(lambda: open('/proc/net/ip_vs')))
n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
n.bind((0, 0))
n.send(struct.pack('<IHHIIBBHHH8s', 32, 16, 1, 7, 0, 3, 1, 0, 9, 2, b'IPVS'))
print(int.from_bytes(n.recv(4096)[16:20], 'little', signed=True))
`
    const { stdout, stderr } = await python(script, env)
    assert.equal(stdout, 'ENOPROTOOPT ENOPROTOOPT ENOENT\n-2\n', stderr)
  })
})
