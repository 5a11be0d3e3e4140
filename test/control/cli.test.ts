/**
 * The command line over a running director: tables no recording covers, FULLNAT, save and restore.
 */
import assert from 'node:assert/strict'
import { refusalOf } from '../../src/control/model/carried.js'
import fc from 'fast-check'
import { abbreviated, exact } from '../../src/control/cli/number-format.js'
import { restoreLines } from '../../src/control/cli/save-restore.js'
import { mergeSort } from '../../src/control/cli/sort.js'
import { parseServices } from '../../src/control/cli/resolver.js'
import { namedText } from '../../src/control/cli/names.js'
import { NUMERIC, startRig } from './daemon-rig.js'
import type { DaemonRig } from './daemon-rig.js'
import { ip } from './fixtures.js'

describe('numbers (spec 10.6)', () => {
  for (const [value, text] of [
    [0n, '        0'],
    [99999999n, ' 99999999'],
    [100000000n, '  100000K'],
    [999999999n, '  999999K'],
    [1000000000n, '    1000M'],
    [99999999999n, '   99999M'],
    [100000000000n, '     100G'],
    [99999999999999n, '   99999G'],
    [100000000000000n, '     100T'],
  ] as const) {
    it(`${value}`, () => assert.equal(abbreviated(value), text))
  }
  it('exact: always one blank in front', () => {
    assert.equal(exact(99999999n), ' 99999999')
    assert.equal(exact(123456789n), ' 123456789')
  })
})

describe('sorting', () => {
  it('is a stable sort for a true order', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(5), fc.nat())), (pairs) => {
        const sorted = mergeSort(pairs, (a, b) => a[0] - b[0])
        assert.deepEqual(
          sorted,
          pairs.toSorted((a, b) => a[0] - b[0]),
        )
      }),
    )
  })
})

describe('names', () => {
  it('IPv6 names keep their brackets, unknown ports stay numbers', async () => {
    const services = parseServices('# comment\nhttp\t80/tcp\twww # web\nbroken\n')
    const text = await namedText([ip('2001:db8::1'), ip('198.18.0.1')], {
      ...NUMERIC,
      hostName: (address) => Promise.resolve(address.family === 6 ? 'six.example' : undefined),
      serviceName: (port, protocol) => services.names.get(`${port}/${protocol}`),
    })
    assert.equal(text(ip('2001:db8::1'), 80, 'tcp'), '[six.example]:http')
    assert.equal(text(ip('198.18.0.1'), 80, 'udp'), '198.18.0.1:80')
    assert.equal(services.ports.get('www/tcp'), 80)
  })
})

const HEAD = 'IP Virtual Server version 1.2.1 (size=4096)\n'
const PLAIN_TITLE =
  'Prot LocalAddress:Port Scheduler Flags\n' +
  '  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n'

describe('ipvsadm over a director', () => {
  let rig: DaemonRig
  beforeEach(async () => {
    rig = await startRig()
  })
  afterEach(() => rig.close())

  async function good(words: string): Promise<string> {
    const { status, stdout, stderr } = await rig.ipvsadm(words)
    assert.deepEqual({ status, stderr }, { status: 0, stderr: '' }, words)
    return stdout
  }

  it('IPv6 services, marks of both families, prefix masks', async () => {
    await good('-A -t [2001:db8::1]:80 -s rr -p 60 -M 64')
    await good('-a -t [2001:db8::1]:80 -r [2001:db8::1234:5678:9abc:def0]:8080 -m -w 3')
    await good('-A -f 9 -6 -s lc')
    await good('-A -f 8 -p')
    assert.equal(
      await good('-Ln'),
      HEAD +
        PLAIN_TITLE +
        'TCP  [2001:db8::1]:80 rr persistent 60 mask 64\n' +
        '  -> [2001:db8::1234:5678:9abc:def0]:8080 Masq    3      0          0         \n' +
        'FWM  8 wlc persistent 360\n' +
        'FWM  9 IPv6 lc\n',
    )
    assert.equal(
      await good('-Sn'),
      '-A -t [2001:db8::1]:80 -s rr -p 60 -M 64\n' +
        '-a -t [2001:db8::1]:80 -r [2001:db8::1234:5678:9abc:def0]:8080 -m -w 3\n' +
        '-A -f 8 -s wlc -p 360\n' +
        '-A -f 9 -6 -s lc\n',
    )
  })

  it('tunnels of every kind', async () => {
    await good('-A -t 198.18.0.1:80')
    await good('-a -t 198.18.0.1:80 -r 198.18.1.1 -i')
    await good('-a -t 198.18.0.1:80 -r 198.18.1.2 -i --tun-type gue --tun-port 6080')
    await good('-a -t 198.18.0.1:80 -r 198.18.1.3 -i --tun-type gue --tun-port 6080 --tun-csum')
    await good('-a -t 198.18.0.1:80 -r 198.18.1.4 -i --tun-type gue --tun-port 6080 --tun-remcsum')
    await good('-a -t 198.18.0.1:80 -r 198.18.1.5 -i --tun-type gre --tun-csum')
    await good('-a -t 198.18.0.1:80 -r 2001:db8::5 -i')
    assert.equal(
      await good('-Ln --tun-info'),
      HEAD +
        'Prot LocalAddress:Port Scheduler Flags\n' +
        '  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n' +
        'TCP  198.18.0.1:80 wlc\n' +
        '  -> 198.18.1.1:80                Tunnel  ipip          1      0          0         \n' +
        '  -> 198.18.1.2:80                Tunnel  gue:6080:-c   1      0          0         \n' +
        '  -> 198.18.1.3:80                Tunnel  gue:6080:+c   1      0          0         \n' +
        '  -> 198.18.1.4:80                Tunnel  gue:6080:r+c  1      0          0         \n' +
        '  -> 198.18.1.5:80                Tunnel  gre:+c        1      0          0         \n' +
        '  -> [2001:db8::5]:80             Tunnel  ipip          1      0          0         \n',
    )
    const saved = await good('-Sn')
    assert.match(saved, /198\.18\.1\.1:80 -i -w 1 --tun-type ipip\n/)
    assert.match(saved, /198\.18\.1\.4:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum\n/)
    assert.match(saved, /198\.18\.1\.5:80 -i -w 1 --tun-type gre --tun-csum\n/)
  })

  it('FULLNAT: -b and local addresses', async () => {
    await good('-A -t 198.18.0.1:80 -s sh -b sh-port -j disable')
    await good('-a -t 198.18.0.1:80 -r 198.18.1.1:8080 -b -w 2')
    await good('-a -t 198.18.0.1:80 -r 198.18.1.2 --fullnat')
    await good('-P -t 198.18.0.1:80 -z 198.18.9.1')
    await good('--add-laddr -t 198.18.0.1:80 --local-address 198.18.9.2')
    assert.equal(
      await good('-Ln'),
      HEAD +
        PLAIN_TITLE +
        'TCP  198.18.0.1:80 sh (sh-port)\n' +
        '  -> 198.18.1.1:8080              FullNat 2      0          0         \n' +
        '  -> 198.18.1.2:80                FullNat 1      0          0         \n',
    )
    const listed = (await good('-G -t 198.18.0.1:80')).split('\n')
    assert.equal(listed.length, 5)
    assert.match(listed[1], /^198\.18\.0\.1:80 {8}2 /)
    assert.match(listed[2], /^ {30}198\.18\.9\.1 /)
    await good('-Q -t 198.18.0.1:80 -z 198.18.9.1')
    const again = await rig.ipvsadm('-Q -t 198.18.0.1:80 -z 198.18.9.1')
    assert.equal(again.status, 255)
    assert.match(again.stderr, /has no local address 198\.18\.9\.1\n$/)
    const noAddress = await rig.ipvsadm('-P -t 198.18.0.1:80')
    assert.equal(
      noAddress.stderr,
      "You need to supply the 'local-address' option for the 'add-laddr' command\n",
    )
  })

  it('SYNPROXY: -j is set, listed, saved, taken off, and refused by name', async () => {
    await good('-A -t 198.18.0.3:80 -s rr -j enable')
    await good('-a -t 198.18.0.3:80 -r 198.18.1.1 -m')
    await good('-a -t 198.18.0.3:80 -r 198.18.1.2 -b')
    assert.match(await good('-Ln -t 198.18.0.3:80'), /^TCP {2}198\.18\.0\.3:80 rr synproxy$/m)
    const saved = await good('-Sn')
    assert.match(saved, /^-A -t 198\.18\.0\.3:80 -s rr -j enable$/m)
    await good('-C')
    assert.equal((await rig.ipvsadm('-R', saved)).status, 0)
    assert.equal(await good('-Sn'), saved)
    const refused = async (words: string, status: number, text: RegExp): Promise<void> => {
      const got = await rig.ipvsadm(words)
      assert.equal(got.status, status, words)
      assert.match(got.stderr, text)
    }
    await refused(
      '-a -t 198.18.0.3:80 -r 198.18.1.3 -g',
      255,
      /^SYNPROXY needs NAT or FULLNAT, but 198\.18\.1\.3:80 of tcp .* direct routing: give it -m/,
    )
    await refused('-e -t 198.18.0.3:80 -r 198.18.1.1 -i', 255, /is reached by a tunnel/)
    await good('-E -t 198.18.0.3:80 -s rr')
    assert.match(await good('-Ln -t 198.18.0.3:80'), /^TCP {2}198\.18\.0\.3:80 rr$/m)
    await good('-a -t 198.18.0.3:80 -r 198.18.1.3 -g')
    await refused('-E -t 198.18.0.3:80 -s rr -j enable', 255, /198\.18\.1\.3:80 of tcp/)
    await refused('-A -u 198.18.0.4:80 -j enable', 2, /only for TCP virtual services\n$/)
    await refused('-A -t 198.18.0.4:80 -j maybe', 2, /^illegal synproxy value `maybe'/)
    await good('-A -f 7 -s rr -j enable')
    assert.match(await good('-Ln'), /^FWM {2}7 rr synproxy$/m)
  })

  it('what the kernel would refuse is refused in ipvsadm’s words', async () => {
    rig.port.check = (config) => {
      const refused = refusalOf(config, 'af_packet')
      if (refused !== undefined) throw refused
    }
    await good('-A -t 198.18.0.1:80')
    await good('-a -t 198.18.0.1:80 -r 198.18.1.1 -m')
    for (const [words, text] of [
      ['-A -t 198.18.0.1:80', 'Service already exists'],
      ['-A -t 198.18.0.2:80 -s best', 'Scheduler or persistence engine not found'],
      ['-E -t 198.18.0.1:80 --pe mine', 'Scheduler or persistence engine not found'],
      ['-E -t 198.18.0.2:80', 'No such service'],
      ['-D -t 198.18.0.2:80', 'No such service'],
      ['-Z -t 198.18.0.2:80', 'No such service'],
      ['-a -t 198.18.0.2:80 -r 198.18.1.1', 'Service not defined'],
      ['-a -t 198.18.0.1:80 -r 198.18.1.1', 'Destination already exists'],
      ['-e -t 198.18.0.1:80 -r 198.18.1.9', 'No such destination'],
      ['-d -t 198.18.0.1:80 -r 198.18.1.9', 'No such destination'],
      ['-a -t 198.18.0.1:80 -r 198.18.1.3 -y 5', 'Numerical result out of range'],
      [
        '-a -t 198.18.0.1:80 -r 224.0.0.1 -m',
        'Invalid operation.  Possibly wrong module version, address not unicast, ...',
      ],
      ['--start-daemon master', 'No such device'],
      ['--stop-daemon backup', 'No daemon is running'],
    ]) {
      const { status, stdout, stderr } = await rig.ipvsadm(words)
      assert.deepEqual([status, stdout, stderr], [255, '', `${text}\n`], words)
    }
    const list = await rig.ipvsadm('-Ln -t 198.18.0.2:80')
    assert.deepEqual([list.status, list.stderr], [1, 'No such service\n'])
  })

  it('mh does not start with more destinations than slots, and takes more later', async () => {
    await rig.close()
    rig = await startRig(8)
    const add = (i: number): string => `-a -t 198.18.0.1:80 -r 198.18.1.${i}:80 -m`
    const lines = Array.from({ length: 252 }, (_, i) => add(1 + i))
    const { status } = await rig.ipvsadm('-R', `-A -t 198.18.0.1:80 -s rr\n${lines.join('\n')}\n`)
    assert.equal(status, 0)
    const refused = await rig.ipvsadm('-E -t 198.18.0.1:80 -s mh')
    const text = 'Invalid operation.  Possibly wrong module version, address not unicast, ...\n'
    assert.deepEqual([refused.status, refused.stderr], [255, text])
    const list = async (): Promise<string> => (await rig.ipvsadm('-Ln')).stdout.split('\n')[3]
    assert.equal(await list(), 'TCP  198.18.0.1:80 rr')
    await good('-d -t 198.18.0.1:80 -r 198.18.1.1:80')
    await good('-E -t 198.18.0.1:80 -s mh -b mh-port,mh-fallback')
    await good(add(1))
    assert.equal(await list(), 'TCP  198.18.0.1:80 mh (mh-fallback,mh-port)')
  })

  it('starts, lists and stops the synchronisation daemon', async () => {
    await good('--start-daemon backup --mcast-interface fake0 --syncid 7')
    await good('--start-daemon master --mcast-interface fake0 --mcast-group ff02::5 --mcast-ttl 3')
    const again = await rig.ipvsadm('--start-daemon master --mcast-interface fake0')
    assert.deepEqual([again.status, again.stderr], [255, 'Daemon has already run\n'])
    const { stdout } = await rig.ipvsadm('-L --daemon')
    assert.equal(
      stdout,
      'master sync daemon (mcast=fake0, syncid=0, maxlen=1452, group=ff02::5, port=8848, ttl=3)\n' +
        'backup sync daemon (mcast=fake0, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ' +
        'ttl=1)\n',
    )
    await good('--stop-daemon master')
    await good('--stop-daemon backup')
    assert.equal((await rig.ipvsadm('-L --daemon')).stdout, '')
  })

  it('an edit sends a complete record', async () => {
    await good('-A -t 198.18.0.1:80 -s rr -p 60')
    await good('-a -t 198.18.0.1:80 -r 198.18.1.1 -m -w 7 -x 10 -y 5')
    await good('-E -t 198.18.0.1:80')
    await good('-e -t 198.18.0.1:80 -r 198.18.1.1')
    assert.equal(
      await good('-Ln -t 198.18.0.1:80'),
      `${PLAIN_TITLE}TCP  198.18.0.1:80 wlc\n` +
        '  -> 198.18.1.1:80                Route   1      0          0         \n',
    )
    assert.match(await good('-Ln --thresholds'), /198\.18\.1\.1:80 {16}0 {10}0 {10}0 {10}0 {9}\n/)
  })

  it('--set and --timeout', async () => {
    await good('--set 100 0 7')
    assert.equal(await good('-L --timeout'), 'Timeout (tcp tcpfin udp): 100 120 7\n')
    assert.equal(await good('-L --daemon'), '')
  })

  it('--json says the same as the table', async () => {
    await good('-A -t 198.18.0.1:80 -s rr')
    await good('-a -t 198.18.0.1:80 -r 198.18.1.1 -m -w 4')
    const [service] = JSON.parse(await good('-Ln --json')) as {
      scheduler: string
      destinations: { address: string; weight: number; stats: { inBytes: string } }[]
    }[]
    assert.equal(service.scheduler, 'rr')
    assert.equal(service.destinations[0].weight, 4)
    assert.equal(service.destinations[0].stats.inBytes, '0')
  })

  it('restores what it saved: save(restore(save(x))) = save(x)', async () => {
    const flagged = fc.constantFrom(
      '-s rr',
      '-s sh -b sh-port',
      '-s wlc -p 60 -M 255.255.0.0',
      '-s lc -p',
    )
    const kind = fc.constantFrom(
      '-t 198.18.0.1:80',
      '-u 198.18.200.1:53',
      '-f 77',
      '-t [2001:db8::1]:443',
      '-f 3 -6',
    )
    const method = fc.constantFrom(
      '-m',
      '-g',
      '-i',
      '-b',
      '-i --tun-type gue --tun-port 6080 --tun-csum',
    )
    const service = fc.record({
      kind,
      flagged,
      destinations: fc.uniqueArray(fc.nat(40), { maxLength: 4 }),
      method,
    })
    const unique = fc.uniqueArray(service, { selector: (s) => s.kind, maxLength: 5 })
    await fc.assert(
      fc.asyncProperty(unique, async (services) => {
        const text = services.flatMap(({ kind, flagged, destinations, method }) => {
          const six = kind.includes('2001') || kind.endsWith('-6')
          const end = (n: number) => (six ? `[2001:db8::${n + 1}]:80` : `198.18.1.${n + 1}:80`)
          return [
            `-A ${kind} ${six ? flagged.replace('255.255.0.0', '64') : flagged}`,
            ...destinations.map((n) => `-a ${kind} -r ${end(n)} ${method} -w ${n}`),
          ]
        })
        await good('-C')
        const first = await rig.ipvsadm('-R', text.join('\n'))
        assert.deepEqual([first.status, first.stderr], [0, ''], text.join('\n'))
        const saved = await good('-Sn')
        await good('-C')
        assert.equal(await good('-Sn'), '')
        const second = await rig.ipvsadm('-R', saved)
        assert.deepEqual([second.status, second.stderr], [0, ''])
        assert.equal(await good('-Sn'), saved)
      }),
      { numRuns: 40 },
    )
  })

  it('a large restore is a few changes, not thousands', async () => {
    const lines = Array.from({ length: 300 }, (_, i) => {
      const port = i + 1
      return `-A -t 198.18.0.1:${port} -s rr\n-a -t 198.18.0.1:${port} -r 198.18.1.1 -m\n`
    })
    const { status } = await rig.ipvsadm('-R', lines.join(''))
    assert.equal(status, 0)
    assert.equal(rig.director.config.services.size, 300)
    assert.ok(rig.port.published.length <= 3)
  })

  it('splits restored lines as the tool does', () => {
    assert.deepEqual(restoreLines('ipvsadm -A  -t\tx\n\n \t\n-C'), [['-A', '-t', 'x'], ['-C']])
  })
})
