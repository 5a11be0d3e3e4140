/** Every command of ipvsadm, its output and its errors (spec sections 1.3, 1.4, 9.2, 10). */
import { type Builder, scenario } from '../language.js'

/** One after the other. */
function all(s: Builder, lines: readonly string[]): void {
  for (const line of lines) s.ipvsadm(line)
}

/** A configuration with something of everything. */
function furnish(s: Builder): void {
  s.service('-t $V1:80 -s wlc', '-r $R3:80 -m -w 3', '-r $R1:8080 -m', '-r $R2 -g -w 0')
  s.service('-u $V1:53 -s rr -o', '-r $R1 -i -x 100 -y 10')
  s.service('-t $V2:443 -s sh -b sh-port -p 600 -M 255.255.255.0', '-r $R4 -g -w 65535')
  s.service('-t [$V1v6]:80 -s wrr -p', '-r [$R1v6]:80 -m -w 2', '-r [$R2v6]:80 -i')
  s.service('-f 5 -s lblc', '-r $R1:80 -g')
  s.service('-f 7 -6 -s rr -p 300 -M 64', '-r [$R1v6]:0 -g')
}

const LISTS = [
  '-L -n',
  '-l -n',
  '-Ln',
  '--list --numeric',
  '-L -n --stats',
  '-L -n --stats --exact',
  '-L -n --rate',
  '-L -n --thresholds',
  '-L -n --persistent-conn',
  '-L -n --tun-info',
  '-L -n --sort',
  '-L -n -c',
  '-L --timeout',
  '-L --daemon',
  '-S -n',
  '--save --numeric',
]

export const COMMANDS = [
  scenario('services: added, edited, deleted, and the errors of each', (s) => {
    all(s, [
      '-A -t $V1:80 -s rr',
      '-A -t $V1:80 -s wlc',
      '-A -u $V1:80',
      '-E -t $V1:80 -s wrr -p 60',
      '-L -n',
      '-E -t $V1:80',
      '-L -n',
      '-E -t $V1:81 -s rr',
      '-E -u $V2:80 -s rr',
      '-D -t $V1:81',
      '-D -t $V1:80',
      '-D -t $V1:80',
      '-L -n',
      '--add-service --tcp-service $V1:80 --scheduler rr --persistent 30 --netmask 255.255.0.0',
      '--edit-service --tcp-service $V1:80 --scheduler lc',
      '-L -n',
      '--delete-service --tcp-service $V1:80',
      '--clear',
      '-L -n',
    ])
  }),

  scenario('services: schedulers and their flags, known and unknown', (s) => {
    for (const name of ['rr', 'wrr', 'lc', 'wlc', 'lblc', 'lblcr', 'dh', 'sh', 'sed', 'nq']) {
      all(s, [`-A -t $V1:80 -s ${name}`, '-L -n', '-D -t $V1:80'])
    }
    all(s, [
      '-A -t $V1:80 -s none',
      '-A -t $V1:80 -s nosuch',
      '-A -t $V1:80 -s averylongschedulername',
      '-A -t $V1:80 -b sh-port',
      '-A -t $V1:80 -s sh -b sh-port,mh-port',
      '-A -t $V1:80 -s sh -b nosuch',
      '-A -t $V1:80 -s sh -b sh-fallback',
      '-E -t $V1:80 -s nosuch',
      '-L -n',
      '-E -t $V1:80 -s rr -b flag-1,flag-2,flag-3',
      '-L -n',
      '-S -n',
      '-A -t $V2:80 -s rr -p 30 --pe nosuch',
      '-A -t $V2:80 -s rr --pe averylongpersistenceengine',
      '-L -n',
    ])
  }),

  scenario('services: persistence, netmasks and prefixes, their ranges', (s) => {
    all(s, [
      '-A -t $V1:80 -p',
      '-A -t $V1:81 -p 1',
      '-A -t $V1:82 -p 2678400',
      '-A -t $V1:83 -p 2678401',
      '-A -t $V1:83 -p 0',
      '-A -t $V1:83 -p -1',
      '-A -t $V1:83 -p many',
      '-A -t $V1:84 -M 255.255.255.0',
      '-A -t $V1:85 -p 30 -M 0.0.0.0',
      '-A -t $V1:86 -p 30 -M 255.0.255.0',
      '-A -t $V1:87 -p 30 -M 24',
      '-A -t $V1:88 -p 30 -M nothing',
      '-A -t [$V1v6]:80 -p 30 -M 64',
      '-A -t [$V1v6]:81 -p 30 -M 128',
      '-A -t [$V1v6]:82 -p 30 -M 0',
      '-A -t [$V1v6]:83 -p 30 -M 129',
      '-A -t [$V1v6]:84 -p 30 -M 255.255.255.0',
      '-A -t $V1:0 -p 30',
      '-A -t $V1:0',
      '-A -t $V2 -s rr',
      '-A -t $V2 -s rr -p 20',
      '-L -n',
      '-S -n',
    ])
  }),

  scenario('services: addresses in all their forms', (s) => {
    all(s, [
      '-A -t 12345:80',
      '-A -t 1.2.3:80',
      '-A -t $V1:',
      '-A -t $V1:http',
      '-A -t $V1:nosuchservice',
      '-A -t $V1:65535',
      '-A -t $V1:65536',
      '-A -t $V1:-1',
      '-A -t :80',
      '-A -t [$V1]:80 -p 30',
      '-A -t [$V1v6] -p 30',
      '-A -t $V1v6 -p 30',
      '-A -t [$V1v6]:80',
      '-A -t [2001:db8::zz]:80',
      '-A -t 2001:db8::zz',
      '-A -u $V1:domain',
      '-A -u $V1:53 -o',
      '-A -u $V1:54 -o',
      '-A -t $V1:90 -o',
      '-L -n',
    ])
  }),

  scenario('services by firewall mark: configured and listed', (s) => {
    all(s, [
      '-A -f 1 -s rr',
      '-A -f 1 -s rr',
      '-A -f 1 -6 -s rr',
      '-A -f 0',
      '-A -f -1',
      '-A -f 2147483647',
      '-A -f 4294967295',
      '-A -f 4294967296',
      '-A -f one',
      '-A -f 9 -o -p 50',
      '-a -f 1 -r $R1:8080 -g',
      '-a -f 1 -r $R2 -m',
      '-a -f 1 -r [$R1v6]:80 -m',
      '-a -f 1 -6 -r [$R1v6]:80 -m',
      '-a -f 3 -r $R1 -g',
      '-L -n',
      '-L -n -f 1',
      '-L -n -f 1 -6',
      '-L -n -f 3',
      '-L -n --stats -f 1',
      '-E -f 1 -s wlc',
      '-d -f 1 -r $R2',
      '-d -f 1 -r $R1',
      '-d -f 1 -r $R1:8080',
      '-D -f 9',
      '-D -f 9',
      '-Z -f 1',
      '-S -n',
    ])
  }),

  scenario('destinations: added, edited, deleted, and the errors of each', (s) => {
    all(s, [
      '-a -t $V1:80 -r $R1:80 -m',
      '-A -t $V1:80 -s rr',
      '-a -t $V1:80 -r $R1:80 -m',
      '-a -t $V1:80 -r $R1:80 -m',
      '-a -t $V1:80 -r $R1:81 -m -w 5',
      '-a -t $V1:80 -r $R2:8080 -i',
      '-a -t $V1:80 -r $R2 -g',
      '-a -t $V1:80 -r $R3',
      '-L -n',
      '-e -t $V1:80 -r $R1:80 -m -w 10',
      '-e -t $V1:80 -r $R1:81',
      '-e -t $V1:80 -r $R1:82 -m',
      '-e -t $V2:80 -r $R1:80 -m',
      '-e -t $V1:80 -r $R3:80 -i',
      '-L -n',
      '-d -t $V1:80 -r $R1:82',
      '-d -t $V2:80 -r $R1:80',
      '-d -t $V1:80 -r $R1:80',
      '-d -t $V1:80 -r $R1:80',
      '-d -t $V1:80 -r [$R1v6]:80',
      '--edit-server --tcp-service $V1:80 --real-server $R2:80 --ipip --weight 7',
      '--delete-server --tcp-service $V1:80 --real-server $R3:80',
      '-L -n',
      '-S -n',
    ])
  }),

  scenario('destinations: weights and thresholds, their ranges', (s) => {
    all(s, [
      '-A -t $V1:80 -s rr',
      '-a -t $V1:80 -r $R1:80 -m -w 0',
      '-a -t $V1:80 -r $R2:80 -m -w 65535',
      '-a -t $V1:80 -r $R3:80 -m -w 65536',
      '-a -t $V1:80 -r $R3:80 -m -w -1',
      '-a -t $V1:80 -r $R3:80 -m -w heavy',
      '-a -t $V1:80 -r $R4:80 -m -x 10 -y 5',
      '-a -t $V1:80 -r $R5:80 -m -x 5 -y 5',
      '-a -t $V1:80 -r $R6:80 -m -x 5 -y 6',
      '-a -t $V1:80 -r $R6:80 -m -y 1',
      '-a -t $V1:80 -r $R6:80 -m -x 2147483647',
      '-a -t $V1:80 -r $R7:80 -m -x 2147483648',
      '-a -t $V1:80 -r $R7:80 -m -x -1',
      '-e -t $V1:80 -r $R4:80 -m -x 3 -y 4',
      '-L -n',
      '-L -n --thresholds',
      '-e -t $V1:80 -r $R4:80 -m',
      '-L -n --thresholds',
      '-S -n',
    ])
  }),

  scenario('destinations: addresses that cannot be one', (s) => {
    s.ipvsadm('-A -t $V1:80 -s rr')
    s.ipvsadm('-A -t [$V1v6]:80 -s rr')
    for (const address of ['224.0.0.1', '255.255.255.255', '0.0.0.0', '127.0.0.1', '$D', '$V1']) {
      s.ipvsadm(`-a -t $V1:80 -r ${address}:80 -m`)
    }
    for (const address of ['ff02::1', 'fe80::1', '::', '::1', '$Dv6', '$V1v6']) {
      s.ipvsadm(`-a -t [$V1v6]:80 -r [${address}]:80 -m`)
    }
    all(s, [
      '-a -t $V1:80 -r 240.0.0.1:80 -m',
      '-a -t $V1:80 -r 192.0.2.77:80 -m',
      '-a -t $V1:80 -r nothing.invalid:80 -m',
      '-a -t $V1:80 -r 99 -m',
      '-a -t $V1:80 -r $R1:99999 -m',
      '-L -n',
    ])
  }),

  scenario('destinations: the broadcast address of a network of the director', (s) => {
    s.ipvsadm('-A -t $V1:80 -s rr')
    s.ipvsadm('-a -t $V1:80 -r 198.18.1.255:80 -m')
    s.list()
  }),

  scenario('destinations: mixed families and tunnel types', (s) => {
    all(s, [
      '-A -t $V1:80 -s rr',
      '-A -t [$V1v6]:80 -s rr',
      '-a -t $V1:80 -r [$R1v6]:80 -g',
      '-a -t $V1:80 -r [$R1v6]:80 -m',
      '-a -t $V1:80 -r [$R1v6]:80 -i',
      '-a -t [$V1v6]:80 -r $R1:80 -m',
      '-a -t [$V1v6]:80 -r $R1:80 -i',
      '-e -t $V1:80 -r [$R1v6]:80 -m',
      '-e -t $V1:80 -r [$R1v6]:80 -i -w 4',
      '-a -t $V1:80 -r $R2:80 -i --tun-type ipip',
      '-a -t $V1:80 -r $R3:80 -m --tun-type ipip',
      '-a -t $V1:80 -r $R3:80 -i --tun-type nosuch',
      '-a -t $V1:80 -r $R3:80 -i --tun-type gue',
      '-a -t $V1:80 -r $R3:80 -i --tun-type gue --tun-port 0',
      '-a -t $V1:80 -r $R3:80 -i --tun-type gre --tun-port 5',
      '-a -t $V1:80 -r $R3:80 -i --tun-type gre --tun-remcsum',
      '-a -t $V1:80 -r $R3:80 -i --tun-type ipip --tun-csum',
      '-a -t $V1:80 -r $R3:80 -i --tun-port 5',
      '-L -n',
      '-L -n --tun-info',
      '-S -n',
      '-d -t $V1:80 -r [$R1v6]:80',
      '-d -t [$V1v6]:80 -r $R1:80',
      '-L -n',
    ])
  }),

  scenario('all lists of an empty director', (s) => all(s, LISTS)),

  scenario('all lists of a furnished director', (s) => {
    furnish(s)
    all(s, LISTS)
  }),

  scenario('lists of one service, and unsorted ones of one service', (s) => {
    furnish(s)
    for (const service of ['-t $V1:80', '-u $V1:53', '-t [$V1v6]:80', '-f 5', '-f 7 -6']) {
      s.ipvsadm(`-L -n ${service}`)
      s.ipvsadm(`-L -n --nosort ${service}`)
      s.ipvsadm(`-L -n --stats ${service}`)
    }
    all(s, [
      '-L -n --rate -t $V1:80',
      '-L -n --thresholds -u $V1:53',
      '-L -n --persistent-conn -t $V2:443',
      '-L -n --tun-info -u $V1:53',
      '-L -n -t $V3:80',
      '-L -n --stats -u $V1:80',
      '-S -n -t $V1:80',
    ])
  }),

  scenario('lists with names instead of numbers', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:22 -m', '-r $R2:7 -m')
    s.service('-u $V1:53 -s rr', '-r $R1:53 -m')
    s.service('-t [$V1v6]:443 -s rr', '-r [$R1v6]:443 -m')
    all(s, ['', '-L', '-L -t $V1:80', '-L --stats', '-S', '-L --thresholds'])
  }),

  scenario('options that do not go together, are given twice, or lack a value', (s) => {
    furnish(s)
    all(s, [
      '-L -n -c --stats',
      '-L -n -c --rate',
      '-L -n --timeout --thresholds',
      '-L --daemon --stats',
      '-L --timeout --persistent-conn',
      '-L --timeout --daemon',
      '-L -c -t $V1:80',
      '-L -n -n',
      '-L -n --stats --stats',
      '-L -n --stats --rate',
      '-L -n --tun-info --stats',
      '-L -t $V1:80 -u $V1:53',
      '-L -r $R1',
      '-L -w 1',
      '-A -t $V3:80 -t $V4:80',
      '-A -t $V3:80 -u $V3:80',
      '-A -t $V3:80 -r $R1',
      '-A -t $V3:80 -s rr -s wlc',
      '-A -s rr',
      '-A -t',
      '-A',
      '-a -t $V1:80 -r $R9:80 -m -g',
      '-a -t $V1:80 -r $R9:80 -m -m',
      '-a -t $V1:80 -r $R9:80 -s rr',
      '-d -t $V1:80',
      '-d -t $V1:80 -r $R1:80 -w 1',
      '-D -t $V1:80 -s rr',
      '-D',
      '-C -t $V1:80',
      '-A -D -t $V1:80',
      '-n -L',
      '-t $V1:80 -A',
      '-L surplus',
      '-A -t $V3:80 surplus',
      '--list --number',
      '-q',
      '-L -q',
      '-6 -L',
    ])
    s.list()
  }),

  scenario('help and version', (s) => all(s, ['-h', '--help', '-v', '--version'])),

  scenario('--set: all its ranges', (s) => {
    all(s, [
      '--set 1 2 3',
      '-L --timeout',
      '--set 0 0 0',
      '-L --timeout',
      '--set 2678400 2678400 2678400',
      '-L --timeout',
      '--set 2678401 1 1',
      '--set 1 2678401 1',
      '--set -1 1 1',
      '--set 1 one 1',
      '--set',
      '--set 1',
      '--set 1 2',
      '--set 1 2 3 4',
      '--set 1 2 3 -n',
      '--set 10 0 0',
      '--set 0 20 0',
      '--set 0 0 30',
      '-L --timeout',
    ])
  }),

  scenario('-Z: counters of one service and of all', (s) => {
    s.service('-t $V1:80 -s rr', '-r $R1:80 -m')
    s.service('-u $V1:53 -s rr', '-r $R1:53 -m')
    const c = s.tcp('$C1:40000', '$V1:80')
    const u = s.udp('$C1:5000', '$V1:53')
    c.open()
    u.send()
    s.stats()
    s.ipvsadm('-Z -t $V1:80')
    s.ipvsadm('-L -n --stats')
    c.send('PA', { payload: 'more' })
    s.stats()
    s.ipvsadm('-Z')
    s.ipvsadm('-L -n --stats')
    s.ipvsadm('-L -n --rate')
    u.send()
    s.stats()
    all(s, ['-Z -u $V2:53', '-Z -t $V1:80 -n', '-Z -r $R1', '-L -n -Z -t $V1:80'])
    s.connections()
  }),

  scenario('-C: everything goes, connections stay', (s) => {
    furnish(s)
    const c = s.tcp('$C1:40000', '$V1:80')
    c.open()
    s.ipvsadm('-C')
    s.list()
    s.connections()
    c.send('PA', { payload: 'anyone' })
    s.ipvsadm('-C')
    s.service('-t $V1:80 -s rr', '-r $R1:8080 -m', '-r $R3:80 -m')
    c.send('PA', { payload: 'back' })
    s.list()
    s.connections()
    s.stats()
  }),

  scenario('-R: what -S writes, and more', (s) => {
    s.ipvsadm('-R')
    s.ipvsadm(
      '-R',
      `
-A -t $V1:80 -s wlc
-a -t $V1:80 -r $R1:80 -m -w 3
  ipvsadm -a -t $V1:80 -r $R2:80 -g -w 1

-A -t [$V1v6]:80 -s rr -p 60 -M 64
-a -t [$V1v6]:80 -r [$R1v6]:80 -i -w 1 --tun-type ipip
-A -f 3 -6 -s rr
-E -t $V1:80 -s rr
-d -t $V1:80 -r $R2:80
`,
    )
    s.list()
    s.ipvsadm('-S -n')
  }),

  scenario('-R: lines the kernel refuses, lines the tool refuses', (s) => {
    s.ipvsadm('-R', '-A -t $V1:80 -s rr\n-A -t $V1:80 -s rr\n-A -u $V1:53 -s rr\n')
    s.ipvsadm('-R', '-D -t $V3:80\n')
    s.list()
    s.ipvsadm('-R', '-A -t $V2:80 -s rr\n-a -t $V2:80 -r $R1 -w heavy\n-A -t $V3:80\n')
    s.list()
    s.ipvsadm('-R', '-A -t $V2:81 -s rr\nno command\n-A -t $V3:81\n')
    s.ipvsadm('-R', '# a comment\n-A -t $V3:82\n')
    s.ipvsadm('-R', '-R\n')
    s.ipvsadm('-R', '-L -n\n')
    s.ipvsadm('-R', '-Z\n-C\n-A -t $V4:80 -s rr')
    s.ipvsadm('-R -n', '')
    s.list()
  }),

  scenario('synchronisation daemon: both roles started, listed, stopped', (s) => {
    all(s, [
      '--stop-daemon master',
      '--stop-daemon backup',
      '--start-daemon master --mcast-interface sv0 --syncid 7',
      '-L --daemon',
      '--start-daemon master --mcast-interface sv0 --syncid 8',
      '--start-daemon backup --mcast-interface cl0 --syncid 9',
      '--start-daemon backup --mcast-interface cl0',
      '-L --daemon',
      '--stop-daemon master --syncid 7',
      '-L --daemon',
      '--stop-daemon master',
      '--stop-daemon backup',
      '-L --daemon',
    ])
  }),

  scenario('synchronisation daemon: its options and their errors', (s) => {
    all(s, [
      '--start-daemon master --mcast-interface sv0 --mcast-group 224.0.0.99 --mcast-port 9000',
      '-L --daemon',
      '--stop-daemon master',
      '--start-daemon master --mcast-interface sv0 --mcast-ttl 5 --sync-maxlen 1000',
      '-L --daemon',
      '--stop-daemon master',
      '--start-daemon backup --mcast-interface sv0 --sync-maxlen 500',
      '-L --daemon',
      '--stop-daemon backup',
      '--start-daemon master --mcast-interface nosuch0',
      '--start-daemon backup --mcast-interface nosuch0',
      '--start-daemon master',
      '--start-daemon neither --mcast-interface sv0',
      '--start-daemon',
      '--start-daemon master --mcast-interface sv0 --syncid 256',
      '--start-daemon master --mcast-interface sv0 --syncid -1',
      '--start-daemon master --mcast-interface sv0 --mcast-group 198.18.1.1',
      '--start-daemon master --mcast-interface sv0 --mcast-port 0',
      '--start-daemon master --mcast-interface sv0 --mcast-port 65536',
      '--start-daemon master --mcast-interface sv0 --mcast-ttl 0',
      '--start-daemon master --mcast-interface sv0 --mcast-ttl 256',
      '--start-daemon master --mcast-interface sv0 --sync-maxlen 0',
      '--start-daemon master --mcast-interface sv0 --sync-maxlen 65508',
      '--stop-daemon neither',
      '--stop-daemon',
      '--stop-daemon master --mcast-interface sv0',
      '-L --daemon',
    ])
  }),

  scenario('synchronisation daemon and mixed families exclude each other', (s) => {
    all(s, [
      '-A -t $V1:80 -s rr',
      '-a -t $V1:80 -r [$R1v6]:80 -i',
      '--start-daemon master --mcast-interface sv0',
      '-d -t $V1:80 -r [$R1v6]:80',
      '--start-daemon master --mcast-interface sv0',
      '-a -t $V1:80 -r [$R1v6]:80 -i',
      '--stop-daemon master',
      '-a -t $V1:80 -r [$R1v6]:80 -i',
      '-L -n',
    ])
  }),

  scenario('settings: numbers as in C, and what is none', (s) => {
    for (const text of [
      '0x11',
      '0X1f',
      '017',
      '08',
      '+3',
      '-1',
      '0x',
      '5x',
      '1.5',
      'one',
      '010 9',
    ]) {
      s.sysctl('conn_reuse_mode', text)
    }
    s.sysctl('conn_reuse_mode', 1)
  }),
]
