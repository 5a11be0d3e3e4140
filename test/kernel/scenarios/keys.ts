/** Connections that packets cannot tell apart: the newest is found, and then the one before it. */
import { scenario, type Builder } from '../language.js'

/** One real server behind two services, and a client that asks both from one port. */
function twoServices(s: Builder, options = '') {
  s.service('-u $V1:53 -s rr', '-r $R1:53 -m')
  s.service(`-u $V2:53 -s rr${options}`, '-r $R1:53 -m')
  return ['$V1:53', '$V2:53'].map((virtual) => s.udp('$C1:5000', virtual))
}

function serverSends(s: Builder, identification: number): void {
  s.fromServer(1, {
    ip: { source: '$R1', destination: '$C1', identification },
    udp: { source: 53, destination: 5000 },
    payload: 'answer',
  })
}

export const KEYS = [
  scenario('same key: a reply is of the newer connection, then of the other', (s) => {
    s.ipvsadm('--set 0 0 12')
    const [first, second] = twoServices(s)
    first.send()
    second.send()
    serverSends(s, 50_001)
    s.wait(8)
    first.send()
    s.wait(8)
    s.connections()
    serverSends(s, 50_002)
    s.connections()
    s.stats()
    s.ipvsadm('--set 0 0 300')
  }),

  scenario('same key: a one-packet connection takes no replies', (s) => {
    const [lasting, passing] = twoServices(s, ' -o')
    lasting.send()
    passing.send()
    serverSends(s, 50_001)
    s.connections()
    s.stats()
  }),
]
