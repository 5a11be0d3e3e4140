/**
 * Runs where the kernel has IPVS, in a network namespace of its own: a director with
 * `--offload kernel` beside Debian's ipvsadm, which shows what the kernel really has. Prints one
 * line of JSON for each check; ../offload.test.ts makes tests of them.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createSocket } from 'node:dgram'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { controlClient } from '../../../src/control/api/client.js'
import { runIpvsadm } from '../../../src/control/cli/ipvsadm.js'
import { systemResolver } from '../../../src/control/cli/resolver.js'
import { waitFor } from '../../support/wait.js'
import { OFFLOAD_CHECKS, type OffloadCheck } from '../offload-checks.js'

// Guest time: it runs ahead while the guest waits for a file of this machine.
const START_MS = 1_000_000
const REPAIR_MS = 20_000
const folder = mkdtempSync(join(tmpdir(), 'uvs-offload-'))
const socket = join(folder, 'uvs.sock')
const client = controlClient(socket)

interface Said {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Debian's ipvsadm: the kernel's own view. */
function kernel(line: string): Said {
  const { status, stdout, stderr } = spawnSync('ipvsadm', words(line), { encoding: 'utf8' })
  return { status: status ?? -1, stdout, stderr }
}

/** Ours, asking the director; in this process, because a new one takes seconds here. */
async function ours(line: string): Promise<Said> {
  const said = { stdout: '', stderr: '' }
  const status = await runIpvsadm(words(line), {
    program: 'ipvsadm',
    client,
    resolver: systemResolver(),
    out: (text) => (said.stdout += text),
    err: (text) => (said.stderr += text),
    readInput: () => Promise.resolve(''),
  })
  return { status, ...said }
}

const words = (line: string): string[] => line.split(' ').filter((word) => word !== '')

function ip(line: string): void {
  const { status, stderr } = spawnSync('ip', words(line), { encoding: 'utf8' })
  assert.equal(status, 0, `ip ${line}: ${stderr}`)
}

class Director {
  log = ''
  readonly #child: ChildProcess

  constructor(...flags: string[]) {
    const argv = ['bin/uvs', 'run', '--socket', socket, '--log-format', 'text', ...flags]
    this.#child = spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.log += text))
  }

  async ready(): Promise<this> {
    const isReady = () => {
      assert.equal(this.#child.exitCode, null, this.log)
      return this.log.includes('uvs ready')
    }
    await waitFor('uvs ready', isReady, START_MS)
    return this
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.#child.kill(signal)
    await waitFor('the end', () => this.ended, START_MS)
    return this.#child.exitCode
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }
}

async function good(line: string): Promise<void> {
  const { status, stderr } = await ours(line)
  assert.deepEqual([status, stderr], [0, ''], line)
}

const VIEWS = [
  '-L -n',
  '-L -n --stats --exact',
  '-L -n --thresholds',
  '-L -n --persistent-conn',
  '-L -n --tun-info',
  '-L --timeout',
  '-L --daemon',
  '-S -n',
]

async function sameViews(views: readonly string[] = VIEWS): Promise<void> {
  for (const view of views) assert.deepEqual(await ours(view), kernel(view), view)
}

const TIME_LEFT = /\b\d\d:\d\d\b/g

const secondsLeft = (listing: string): number[] =>
  [...listing.matchAll(TIME_LEFT)].map(([text]) => {
    const [minutes, seconds] = text.split(':').map(Number)
    return minutes * 60 + seconds
  })

const RULES = `-A -t 198.18.0.200:80 -s wlc -p 100 -M 255.255.255.0
-a -t 198.18.0.200:80 -r 198.18.0.11:80 -m -w 3
-a -t 198.18.0.200:80 -r 198.18.0.12:80 -g -w 2 -x 10 -y 3
-A -u 198.18.0.200:53 -s rr
-a -u 198.18.0.200:53 -r 198.18.0.11:53 -g
-a -u 198.18.0.200:53 -r 198.18.0.12:53 -g -w 0
`

const MORE = [
  '-A -t [2001:db8::1]:80 -s mh -b mh-port,mh-fallback',
  '-a -t [2001:db8::1]:80 -r [2001:db8::11]:80 -i',
  '-a -t [2001:db8::1]:80 -r 198.18.0.13:80 -i --tun-type gue --tun-port 6080 --tun-csum',
  '-A -t 198.18.0.200:90 -s fo',
  '-a -t 198.18.0.200:90 -r 198.18.0.12:90 -i --tun-type gre',
  '-A --sctp-service 198.18.0.200:132 -s ovf',
  '-a --sctp-service 198.18.0.200:132 -r 198.18.0.12:132 -m',
  '-A -f 7 -s sh -b sh-port',
  '-A -f 7 -6 -s lblcr -p 60',
  '-A -u 198.18.0.200:5060 -s rr -p 60 --pe sip',
  '-e -t 198.18.0.200:80 -r 198.18.0.11:80 -m -w 9',
  '-E -t 198.18.0.200:80 -s sed -p 50',
  '-d -u 198.18.0.200:53 -r 198.18.0.12:53',
  '-D -f 7',
  '--set 100 20 30',
]

const CHECKS: Readonly<Record<OffloadCheck, () => Promise<void>>> = {
  async 'applies the configuration before it is ready, beside a foreign service'() {
    kernel('-A -t 198.18.9.9:80 -s rr')
    kernel('--set 1000 100 200')
    writeFileSync(join(folder, 'rules'), RULES)
    const flags = ['--rules', join(folder, 'rules'), '--set', 'expire_nodest_conn=1']
    director = await new Director('--offload', 'kernel', ...flags).ready()
    assert.match(director.log, /services of others in the kernel, left alone: tcp 198\.18\.9\.9/)
    const foreign = 'TCP  198.18.9.9:80 rr\n'
    const { stdout } = kernel('-L -n')
    assert.ok(stdout.includes(foreign))
    assert.equal((await ours('-L -n')).stdout, stdout.replace(foreign, ''))
    assert.equal(readFileSync('/proc/sys/net/ipv4/vs/expire_nodest_conn', 'utf8').trim(), '1')
    assert.match(kernel('-L --timeout').stdout, /1000 100 200/, 'nobody has set timeouts')
    await sameViews(['-L --timeout'])
    kernel('-D -t 198.18.9.9:80')
  },

  async 'carries every kind of command to the kernel'() {
    for (const line of MORE) await good(line)
    await sameViews()
  },

  async 'shows the kernel’s counters, rates and connections'() {
    const sender = createSocket('udp4')
    for (let i = 0; i < 5; i++) {
      await new Promise((sent) => sender.send('x', 53, '198.18.0.200', sent))
    }
    sender.close()
    // Once the kernel's estimator has run (2 s), both show what it saw.
    await waitFor('the counters', () => /UDP .* 5 /.test(kernel('-L -n --stats').stdout), 20_000)
    await sameViews([...VIEWS, '-L -n -u 198.18.0.200:53 --stats'])
    // A second may pass between the two: the time left is compared by itself.
    const [theirs, own] = [kernel('-L -n -c').stdout, (await ours('-L -n -c')).stdout]
    assert.equal(own.replace(TIME_LEFT, ''), theirs.replace(TIME_LEFT, ''))
    assert.match(own, /UDP .*198\.18\.0\.200:53/)
    const [left] = secondsLeft(theirs)
    assert.ok(left - secondsLeft(own)[0] <= 2, `${theirs}${own}`)
    await good('-Z')
    await sameViews(['-L -n --stats --exact'])
    assert.doesNotMatch(kernel('-L -n --stats').stdout, /UDP .* 5 /)
  },

  async 'puts right what another program changes, and leaves what is not its own'() {
    kernel('-e -t 198.18.0.200:80 -r 198.18.0.11:80 -m -w 77')
    kernel('-D -t 198.18.0.200:90')
    kernel('-d -u 198.18.0.200:53 -r 198.18.0.11:53')
    kernel('-A -t 198.18.9.9:80 -s lc')
    kernel('--set 7 7 7')
    // One look of the director may come between two of these changes: every one is waited for.
    const back = ['198.18.0.11:80 -m -w 9', '-A -t 198.18.0.200:90', '198.18.0.11:53 -g -w 1']
    const repaired = () => {
      const { stdout } = kernel('-S -n')
      const timeouts = kernel('-L --timeout').stdout
      return back.every((text) => stdout.includes(text)) && timeouts.includes('100 20 30')
    }
    await waitFor('the repair', repaired, REPAIR_MS)
    assert.match(kernel('-S -n').stdout, /-A -t 198\.18\.9\.9:80 -s lc/)
    const told = /repaired what another program changed: .*198\.18\.0\.11:80/
    await waitFor('its line in the log', () => told.test(director.log))
    kernel('-D -t 198.18.9.9:80')
    await sameViews()
  },

  async 'keeps a service of another program, also when a command names it'() {
    kernel('-A -t 198.18.9.9:80 -s rr')
    kernel('-a -t 198.18.9.9:80 -r 198.18.0.15:80 -m')
    const before = kernel('-S -n').stdout
    for (const scheduler of ['twos', 'rr']) {
      const { status, stderr } = await ours(`-A -t 198.18.9.9:80 -s ${scheduler}`)
      assert.deepEqual([status, stderr], [255, 'Service already exists\n'])
    }
    // Debian's kernel has no twos.
    const { stderr } = await ours('-A -t 198.18.0.202:80 -s twos')
    assert.equal(stderr, 'Scheduler or persistence engine not found\n')
    assert.equal(kernel('-S -n').stdout, before)
    kernel('-D -t 198.18.9.9:80')
  },

  async 'starts and stops the kernel’s synchronisation daemon'() {
    // Not with destinations of another family than their service.
    const start = '--start-daemon master --mcast-interface d0 --syncid 5'
    assert.deepEqual(await ours(start), kernel(start))
    await good('-d -t [2001:db8::1]:80 -r 198.18.0.13:80')
    await good(start)
    await good('--start-daemon backup --mcast-interface d0 --sync-maxlen 2000 --mcast-port 9000')
    await sameViews(['-L --daemon'])
    assert.match(kernel('-L --daemon').stdout, /master .*syncid=5.*\nbackup .*maxlen=2000/)
    await good('--stop-daemon master')
    await sameViews(['-L --daemon'])
  },

  async 'refuses as the kernel does, and names what only the packet workers do'() {
    const lines = [
      '-A -t 198.18.0.200:80',
      '-A -t 198.18.0.201:80 -s nosuch',
      '-e -t 198.18.0.200:80 -r 198.18.0.99:80',
      '-D -t 198.18.0.201:80',
      '-a -t 198.18.0.200:80 -r 224.0.0.1:80 -m',
      '-a -t 198.18.0.200:80 -r 198.18.0.14:80 -m -y 5',
      '--start-daemon backup --mcast-interface d0',
      '--start-daemon master --mcast-interface nosuch',
      '-L -n -t 198.18.0.201:80',
    ]
    for (const line of lines) assert.deepEqual(await ours(line), kernel(line), line)
    const before = kernel('-S -n').stdout
    const { status, stderr } = await ours('-a -t 198.18.0.200:80 -r 198.18.0.14:80 -b')
    assert.equal(status, 255)
    assert.match(stderr, /TOA, PROXY protocol and SYNPROXY need the userspace dataplane/)
    assert.equal(kernel('-S -n').stdout, before)
  },

  async 'goes on after kill -9 without touching what stays, and removes what went'() {
    const connections = () => kernel('-L -n -c').stdout.match(/UDP .*:53 /g)?.length ?? 0
    const sender = createSocket('udp4')
    await new Promise((sent) => sender.send('x', 53, '198.18.0.200', sent))
    sender.close()
    const had = connections()
    assert.ok(had > 0)
    await director.end('SIGKILL')
    kernel('-A -t 198.18.9.9:80 -s rr')
    const flags = ['--rules', join(folder, 'rules'), '--log-format', 'text']
    director = await new Director('--offload', 'auto', ...flags).ready()
    assert.match(director.log, /offload: the kernel's IPVS forwards/)
    assert.ok(connections() >= had, 'connections were lost')
    const left = kernel('-S -n').stdout
    assert.doesNotMatch(left, /-f 7|:90 |sctp/)
    assert.match(left, /198\.18\.9\.9:80/)
  },

  async 'lets no second director in'() {
    const second = new Director('--offload', 'kernel', '--socket', join(folder, 'second.sock'))
    await waitFor('its end', () => second.ended, START_MS)
    assert.match(second.log, /another uvs has the kernel's IPVS/)
  },

  async 'leaves nothing of its own behind'() {
    assert.equal(await director.end('SIGTERM'), 0)
    const text = kernel('-S -n').stdout
    assert.equal(text, '-A -t 198.18.9.9:80 -s rr\n')
    assert.match(kernel('-L --timeout').stdout, /1000 100 200/)
    assert.equal(kernel('-L --daemon').stdout, '')
    assert.equal(readFileSync('/proc/sys/net/ipv4/vs/expire_nodest_conn', 'utf8').trim(), '0')
    assert.equal(existsSync(socket), false)
  },

  async 'gives everything back when its first configuration is refused half-way'() {
    const before = kernel('-S -n').stdout
    const rules = `${RULES}-A -t 198.18.0.203:80 -s twos\n-A -t 198.18.0.204:80 -s rr\n`
    writeFileSync(join(folder, 'bad-rules'), rules)
    const bad = new Director('--offload', 'kernel', '--rules', join(folder, 'bad-rules'))
    await waitFor('its end', () => bad.ended, START_MS)
    assert.match(bad.log, /the kernel refused to add the service tcp 198\.18\.0\.203:80/)
    assert.equal(kernel('-S -n').stdout, before)
  },

  async 'removes services of others when told to'() {
    director = await new Director('--offload', 'kernel', '--foreign', 'remove').ready()
    assert.equal(kernel('-S -n').stdout, '')
    await director.end('SIGTERM')
  },

  async 'lets keepalived, through the shim, check real servers and change the kernel’s weights'() {
    ip('address add 198.18.0.11/32 dev d0')
    ip('address add 198.18.0.12/32 dev d0')
    director = await new Director('--offload', 'kernel').ready()
    const [steady, failing] = [await listen('198.18.0.11'), await listen('198.18.0.12')]
    writeFileSync(join(folder, 'keepalived.conf'), KEEPALIVED)
    const files = ['-f', 'keepalived.conf', '-p', 'pid', '-c', 'checkers.pid', '-r', 'vrrp.pid']
    const argv = ['shim', '--socket', socket, 'keepalived', '-n', '-l', '-C', ...files]
    const uvs = join(process.cwd(), 'bin/uvs')
    const child = spawn(process.execPath, [uvs, ...argv], { cwd: folder, stdio: ['ignore', 2, 2] })
    const has = (...lines: string[]) => {
      const { stdout } = kernel('-S -n')
      return lines.every((line) => stdout.includes(line))
    }
    const all = ['-s wlc', '198.18.0.11:8080 -m -w 3', '198.18.0.12:8080 -m -w 2']
    await waitFor('its services', () => has(...all), START_MS)
    failing.close()
    await waitFor('the weight 0', () => has('198.18.0.12:8080 -m -w 0'), START_MS)
    const back = await listen('198.18.0.12')
    await waitFor('the weight 2', () => has(...all), START_MS)
    child.kill('SIGTERM')
    await waitFor('its end', () => kernel('-S -n').stdout === '', START_MS)
    await waitFor('the end of the shim', () => child.exitCode !== null, START_MS)
    steady.close()
    back.close()
    await director.end('SIGTERM')
  },
}

const KEEPALIVED = `
virtual_server 198.18.0.200 8080 {
  delay_loop 1
  lb_algo wlc
  lb_kind NAT
  protocol TCP
  ${[3, 2]
    .map(
      (weight, i) => `real_server 198.18.0.1${i + 1} 8080 {
    weight ${weight}
    inhibit_on_failure
    TCP_CHECK {
      connect_timeout 2
      retry 0
    }
  }`,
    )
    .join('\n  ')}
}
`

function listen(address: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((connection) => connection.destroy())
    server.once('error', reject).listen(8080, address, () => resolve(server))
  })
}

let director: Director

ip('link set lo up')
ip('link add d0 type dummy')
ip('link set d0 up')
ip('address add 198.18.0.200/24 dev d0')
ip('address add 2001:db8::1/64 dev d0 nodad')
for (const name of OFFLOAD_CHECKS) {
  let problem = ''
  try {
    await CHECKS[name]()
  } catch (error) {
    problem = error instanceof Error ? (error.stack ?? error.message) : String(error)
  }
  console.log(JSON.stringify({ name, problem }))
}
process.exit()
