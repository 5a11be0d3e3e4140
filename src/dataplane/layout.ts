/**
 * THE description of every record that native code and TypeScript both touch.
 *
 * `gen-layout.ts` turns this file into `native/layout.gen.h` (structs with a static_assert on every
 * offset); LAYOUT_HASH is compiled into both sides and compared when a worker attaches.
 *
 * Host byte order (little-endian) everywhere. Addresses are 16 bytes in network order, IPv4 as
 * IPv4-mapped IPv6 (RFC 4291 2.5.5.2). Ports, weights and counts are host-order integers.
 * Who writes which block, and in which order, is in docs/shared-memory.md.
 */
import { createHash } from 'node:crypto'
import { REASONS } from './reasons.js'

export type FieldType = 'u8' | 'u16' | 'u32' | 'i32' | 'u64' | 'addr'

/** One field: its type and its byte offset in the record. */
export type Field = readonly [type: FieldType, offset: number]

/** One record: its size in bytes and its fields by name. */
export interface RecordLayout {
  readonly bytes: number
  readonly fields: Readonly<Record<string, Field>>
}

export const FIELD_BYTES: Readonly<Record<FieldType, number>> = {
  u8: 1,
  u16: 2,
  u32: 4,
  i32: 4,
  u64: 8,
  addr: 16,
}

/** Every maximum that both sides must agree on. */
export const LIMITS = {
  /** Worker threads of one director. */
  WORKERS: 16,
  /** Service slots (address and fwmark services together). */
  SERVICES: 4096,
  /** Destination slots over all services, those in the trash included. */
  DESTINATIONS: 32768,
  /** Local addresses for FULLNAT, over all services. */
  LOCAL_ADDRESSES: 1024,
  /** Mark rules as workers evaluate them: jumps to user chains written out. */
  MARK_RULES: 2048,
  /** Port ranges of all mark rules. */
  MARK_PORTS: 8192,
  /** Destinations that mark rules select, with protocol and port range. */
  MARK_ENDS: 8192,
  /** Addresses of removed services that connections may still be of; more are not listed. */
  REMOVED_ADDRESSES: 4096,
  /** Frames taken from a port at once, and the most misses one burst can make. */
  BURST: 64,
  /** Datagrams of a FULLNAT connection that may carry the client address (spec 12.10). */
  UOA_TRAIL: 16,
  /** Interfaces (ports) of one director. */
  PORTS: 8,
  /** Virtual ports of the FTP helper (ip_vs_ftp.c, IP_VS_APP_MAX_PORTS). */
  FTP_PORTS: 8,
  /** Bytes of a key text: its length in the first, then the text, zeroes up to the next word. */
  TEXT_SLOT: 256,
} as const

/** Value of a slot field that names nothing. */
export const NO_SLOT = 0xffff

/** Verdicts: a destination slot (0 or above), or one of these. Kernel: ip_vs_core.c ip_vs_leave. */
export const VERDICT = {
  /** No destination can take it: ICMP port unreachable to the client (spec 5.4). */
  NONE: -1,
  /** Drop without an answer (scheduler failed, policy). */
  DROP: -2,
  /** Not for us after all: hand to the host. */
  PASS: -3,
  /** No room for the template without which it must not go (spec 4.5). */
  NO_TEMPLATE: -4,
} as const

/** Forwarding methods; 0-4 are the kernel's IP_VS_CONN_F_* values, 5 is DPVS' FULLNAT. */
export const METHOD = {
  MASQUERADE: 0,
  LOCAL: 1,
  TUNNEL: 2,
  DIRECT: 3,
  BYPASS: 4,
  FULLNAT: 5,
} as const

/** Tunnel types of a destination, the kernel's IP_VS_CONN_F_TUNNEL_TYPE_* values. */
export const TUNNEL = { IPIP: 0, GUE: 1, GRE: 2 } as const

/** Flags of a tunnel, the kernel's IP_VS_TUNNEL_ENCAP_FLAG_* bits. */
export const TUNNEL_FLAG = { CSUM: 0x1, REMCSUM: 0x2 } as const

/** Service flags, the kernel's IP_VS_SVC_F_* bits (spec 1.1), and above them our own. */
export const SERVICE_FLAG = {
  PERSISTENT: 0x1,
  HASHED: 0x2,
  ONE_PACKET: 0x4,
  SCHED1: 0x8,
  SCHED2: 0x10,
  SCHED3: 0x20,
  /** The persistence engine is `sip` (spec 4.5). */
  SIP: 0x2000000,
  /** Alibaba's and DPVS' bit: handshakes are answered here first (spec 12.9). */
  SYNPROXY: 0x8000,
  /** Ours: all connections of a client have one worker (control/host/quiet.ts). */
  BY_ADDRESS: 0x4000000,
  /** Ours, in snapshots of SYNPROXY services only: no destination has a weight. */
  UNWEIGHTED: 0x1000000,
  /** Ours: the PROXY header of FULLNAT connections (spec 12.11), one byte of its own. */
  PROXY_V1: 0x10000,
  PROXY_V2: 0x20000,
  PROXY_INSECURE: 0x100000,
} as const

/** Bits of `snapshotHeader.fullnatFlags`. */
export const FULLNAT_FLAG = {
  /** The client address goes into a TCP option (spec 12.7). */
  TOA: 0x1,
  /** First sequence numbers are chosen anew (spec 12.6). */
  RANDOMISE: 0x2,
} as const

/** How UDP says the client address (spec 12.10), `snapshotHeader.uoaMode`. */
export const UOA = {
  /** A header between IP and UDP, "opp". */
  HEADER: 0,
  /** An option of the IPv4 header, "ipo". */
  OPTION: 1,
} as const

/** Scheduler numbers inside a snapshot. Zero is the literal scheduler `none` (spec 1.1). */
export const SCHEDULER_ID = {
  none: 0,
  rr: 1,
  wrr: 2,
  lc: 3,
  wlc: 4,
  lblc: 5,
  lblcr: 6,
  dh: 7,
  sh: 8,
  sed: 9,
  nq: 10,
  fo: 11,
  ovf: 12,
  mh: 13,
  twos: 14,
} as const

/** Flags of a destination in a snapshot. */
export const DESTINATION_FLAG = {
  /** Linked in its service (the kernel's IP_VS_DEST_F_AVAILABLE); clear for the trash. */
  AVAILABLE: 0x1,
} as const

/** Bits of the shared per-destination state word (block `destinationState`). */
export const DESTINATION_STATE = {
  /** Upper threshold reached, spec 1.5. */
  OVERLOAD: 0x1,
} as const

/** Conditions of a mark rule that hold where the value does not match (iptables' `!`). */
export const MARK_NOT = {
  SOURCE: 0x1,
  DESTINATION: 0x2,
  PROTOCOL: 0x4,
  SOURCE_PORTS: 0x8,
  DESTINATION_PORTS: 0x10,
  /** Either port. */
  PORTS: 0x20,
  MARK: 0x40,
} as const

/** Flags of a miss record. */
export const MISS_FLAG = {
  TCP_SYN: 0x1,
  TCP_ACK: 0x2,
  TCP_FIN: 0x4,
  TCP_RST: 0x8,
  /** One-packet scheduling applies: no entry will be kept (spec 3.8). */
  ONE_PACKET: 0x10,
  /** The flow is known from an ICMP error about its replies (spec 5.7.2, schedule_icmp). */
  ICMP: 0x20,
  /** A real server begins the flow: `verdict` already names its slot (spec 4.5). */
  OUTBOUND: 0x40,
  /** An ACK with a good cookie: SYNPROXY opens the connection (spec 12.9). */
  SYNPROXY: 0x1000,
} as const

/** Bits of a template's `state` word (spec 4.4). */
export const TEMPLATE_STATE = {
  USED: 0x1,
  /** A slave connection was established. */
  ASSURED: 0x2,
  /** Re-keyed so that it cannot be found any more (spec 4.6). */
  INVALID: 0x4,
} as const

/** Indexes of the IPVS sysctls that packets consult, in `snapshotHeader.sysctls`. */
export const SYSCTL_INDEX = {
  conn_reuse_mode: 0,
  expire_nodest_conn: 1,
  expire_quiescent_template: 2,
  sloppy_tcp: 3,
  nat_icmp_send: 4,
  pmtu_disc: 5,
  secure_tcp: 6,
  schedule_icmp: 7,
  lblc_expiration: 8,
  lblcr_expiration: 9,
  drop_entry: 10,
  drop_packet: 11,
  sloppy_sctp: 12,
  cache_bypass: 15,
} as const
export const SYSCTL_WORDS = 16

/** TCP states in table order (spec 3.6); also indexes of the timeout table. */
export const TCP_STATE = {
  NONE: 0,
  ESTABLISHED: 1,
  SYN_SENT: 2,
  SYN_RECV: 3,
  FIN_WAIT: 4,
  TIME_WAIT: 5,
  CLOSE: 6,
  CLOSE_WAIT: 7,
  LAST_ACK: 8,
  LISTEN: 9,
  SYNACK: 10,
} as const

/** SCTP states in table order (spec 3.6.2). */
export const SCTP_STATE = {
  NONE: 0,
  INIT1: 1,
  INIT: 2,
  COOKIE_SENT: 3,
  COOKIE_REPLIED: 4,
  COOKIE_WAIT: 5,
  COOKIE: 6,
  COOKIE_ECHOED: 7,
  ESTABLISHED: 8,
  SHUTDOWN_SENT: 9,
  SHUTDOWN_RECEIVED: 10,
  SHUTDOWN_ACK_SENT: 11,
  REJECTED: 12,
  CLOSED: 13,
} as const

/** Worker states in `workerWords.state`, written by the worker. */
export const WORKER_STATE = { STARTING: 0, READY: 1, RUNNING: 2, STOPPED: 3, FAILED: 4 } as const

export const SNAPSHOT_MAGIC = 0x53565531 // "1UVS"
export const TABLE_MAGIC = 0x54565531 // "1UVT"

export const RECORDS = {
  /** A new flow that wants a verdict: native fills, TypeScript answers, same thread. */
  miss: {
    bytes: 64,
    fields: {
      clientAddress: ['addr', 0],
      virtualAddress: ['addr', 16],
      clientPort: ['u16', 32],
      virtualPort: ['u16', 34],
      serviceSlot: ['u32', 36],
      flowHash: ['u32', 40],
      protocol: ['u8', 44],
      family: ['u8', 45], // 4 or 6
      flags: ['u16', 46], // MISS_FLAG
      fwmark: ['u32', 48],
      verdict: ['i32', 52], // written by TypeScript: destination slot or VERDICT
      packets: ['u32', 56], // packets of this flow parked behind the verdict
      templateRef: ['u32', 60], // written by TypeScript: template index + 1, 0 for none
    },
  },
  /** Load of one destination in one lane; a lane has one writer. */
  load: {
    bytes: 16,
    fields: {
      active: ['i32', 0],
      inactive: ['i32', 4],
      persistent: ['i32', 8],
      reserved: ['i32', 12],
    },
  },
  /** Traffic of one service, destination or lane total in one lane (spec 7.1). */
  traffic: {
    bytes: 64,
    fields: {
      connections: ['u64', 0],
      inPackets: ['u64', 8],
      outPackets: ['u64', 16],
      inBytes: ['u64', 24],
      outBytes: ['u64', 32],
      reserved0: ['u64', 40],
      reserved1: ['u64', 48],
      reserved2: ['u64', 56],
    },
  },
  /** Control words of one worker: line 0 is written by main, line 1 by the worker. */
  workerWords: {
    bytes: 128,
    fields: {
      stop: ['u32', 0],
      wantedGeneration: ['u32', 4],
      mail: ['u32', 8], // messages posted to the worker's port, wraps
      dropRate: ['i32', 12], // drop_packet: one of so many new connections; 0: none (spec 3.11)
      dropReloads: ['u32', 16], // times that the count towards it started anew, wraps
      state: ['u32', 64], // WORKER_STATE
      appliedGeneration: ['u32', 68],
      heartbeat: ['u32', 72], // turns, wraps
      connections: ['u32', 80], // entries in the table
      longestGapUs: ['u32', 84], // longest time between two polls
      garbageCollections: ['u32', 92],
      misses: ['u64', 96],
      bursts: ['u64', 104],
      nowMs: ['u32', 112], // the core's monotonic clock at its last poll, wraps
      nowSec: ['u32', 116], // the same in seconds
      attached: ['u32', 120], // 1 while a core holds this worker's memory
    },
  },
  snapshotHeader: {
    bytes: 384,
    fields: {
      magic: ['u32', 0],
      layoutHash: ['u32', 4],
      generation: ['u32', 8],
      bytes: ['u32', 12], // whole block
      serviceCount: ['u32', 16], // highest service slot + 1
      serviceOffset: ['u32', 20],
      destinationCount: ['u32', 24], // highest destination slot + 1
      destinationOffset: ['u32', 28],
      orderCount: ['u32', 32], // u32 destination slots, service by service, list order
      orderOffset: ['u32', 36],
      localAddressCount: ['u32', 40], // addr records, service by service, then those held
      localAddressOffset: ['u32', 44],
      localPortFirst: ['u16', 48], // of new FULLNAT connections, both ends included
      localPortLast: ['u16', 50],
      takenPortFirst: ['u16', 252], // of those there may be, of an earlier configuration too
      takenPortLast: ['u16', 254],
      announceCount: ['u32', 52], // `announce` records
      announceOffset: ['u32', 56],
      udpTimeoutSec: ['u32', 60],
      tcpTimeoutSec: ['u32', 64], // 11 words, by TCP_STATE
      ephemeralPortFirst: ['u16', 108], // the host's, source ports of GUE tunnels, both ends
      ephemeralPortLast: ['u16', 110], //   included
      fullnatTcpTimeoutSec: ['u32', 112], // 11 words, by TCP_STATE (spec 12.8)
      fullnatFlags: ['u8', 156], // FULLNAT_FLAG
      uoaMode: ['u8', 157], // UOA
      uoaTrail: ['u16', 158], // datagrams of a connection that carry it, 0: none
      sysctls: ['u32', 160], // SYSCTL_WORDS words, by SYSCTL_INDEX
      markRuleCount: ['u32', 224], // `markRule` records, in the order of evaluation
      markRuleOffset: ['u32', 228],
      markPortCount: ['u32', 232], // u32: first port, last port << 16
      markPortOffset: ['u32', 236],
      markEndCount: ['u32', 240], // `markEnd` records
      markEndOffset: ['u32', 244],
      unprivilegedStart: ['u16', 248], // the host's first port of the FTP rule (spec 1.2)
      steeringMoved: ['u8', 250], // 1: connections may be with another worker than packets go to
      synproxyOffset: ['u32', 272], // one `synproxy` record; 0: none
      removedAddressCount: ['u32', 276], // addr records: services of which connections are left
      removedAddressOffset: ['u32', 280],
      ftpPorts: ['u16', 256], // LIMITS.FTP_PORTS virtual ports of the FTP helper, 0 for none
    },
  },
  /** Service by slot; `used` is 0 for a hole. */
  service: {
    bytes: 64,
    fields: {
      address: ['addr', 0],
      port: ['u16', 16],
      protocol: ['u8', 18], // 6, 17, 132; 0 for a fwmark service
      family: ['u8', 19], // 4 or 6
      fwmark: ['u32', 20],
      flags: ['u32', 24], // SERVICE_FLAG
      schedulerId: ['u8', 28], // SCHEDULER_ID
      used: ['u8', 29],
      reserved: ['u16', 30],
      orderFirst: ['u32', 32], // index of its first destination in the order list
      orderCount: ['u32', 36],
      persistentSec: ['u32', 40],
      netmask: ['u32', 44], // IPv4: mask as a host-order integer; IPv6: prefix length
      localFirst: ['u32', 48],
      localCount: ['u32', 52],
      changes: ['u32', 56], // moves when a destination is added, edited or deleted
      incarnation: ['u32', 60], // changes when the slot is given to another service
    },
  },
  /** Destination by slot; `used` is 0 for a hole. Trash entries stay, without AVAILABLE. */
  destination: {
    bytes: 64,
    fields: {
      address: ['addr', 0],
      port: ['u16', 16], // 0: same port as the packet
      method: ['u8', 18], // METHOD
      family: ['u8', 19],
      weight: ['i32', 20],
      lastWeight: ['i32', 24],
      upperThreshold: ['u32', 28],
      lowerThreshold: ['u32', 32],
      serviceSlot: ['u32', 36], // NO_SLOT when its service is gone
      flags: ['u32', 40], // DESTINATION_FLAG
      tunnelType: ['u8', 44], // TUNNEL
      tunnelFlags: ['u8', 45], // TUNNEL_FLAG
      tunnelPort: ['u16', 46], // GUE only
      used: ['u32', 48],
      incarnation: ['u32', 52],
      inserted: ['u32', 56], // moves when it is put into its service's list
      hashed: ['u32', 60], // of real servers at one address the highest is found
    },
  },
  /** What SYNPROXY goes by (spec 12.9): the same for all workers, secrets for a director's life. */
  synproxy: {
    bytes: 64,
    fields: {
      secret: ['u32', 0], // 8 words: two SipHash keys
      minuteStart: ['u32', 32], // added to the minutes of the monotonic clock
      initMss: ['u16', 36],
      dupAck: ['u16', 38], // repetitions that make an ACK storm; 0: never
      maxAckSaved: ['u16', 40],
      reuseStates: ['u16', 42], // bit per TCP_STATE in which an ACK may begin anew
      windowScale: ['u8', 44], // shift that we advertise; 0: no window scaling
      sack: ['u8', 45],
      timestamps: ['u8', 46],
      ttl: ['u8', 47],
      defer: ['u8', 48],
      synRetry: ['u8', 49],
      closeClientWindow: ['u8', 50],
      reserved: ['u8', 51],
    },
  },
  /** An address that nobody has and uvs answers ARP and ND for. */
  announce: {
    bytes: 32,
    fields: {
      address: ['addr', 0],
      port: ['u32', 16], // index of the interface whose subnet contains it
      reserved: ['u32', 20],
    },
  },
  /**
   * One step in finding a new flow's mark: where every condition holds, the bits of `clearMask` are
   * cleared, `flipBits` flipped (iptables' --set-xmark), and `skip` steps left out.
   */
  markRule: {
    bytes: 80,
    fields: {
      source: ['addr', 0],
      destination: ['addr', 16],
      clearMask: ['u32', 32],
      flipBits: ['u32', 36],
      markMask: ['u32', 40], // condition: mark & markMask == markValue
      markValue: ['u32', 44],
      interfaces: ['u32', 48], // condition: bit of the port it came from
      isNot: ['u32', 52], // MARK_NOT
      skip: ['u32', 56],
      sourcePortFirst: ['u16', 60], // index of its first range; count 0: any port
      sourcePortCount: ['u16', 62],
      destinationPortFirst: ['u16', 64],
      destinationPortCount: ['u16', 66],
      portFirst: ['u16', 68], // ranges that hold the source or the destination port
      portCount: ['u16', 70],
      sourceBits: ['u8', 72], // of 128: IPv4 prefixes are 96 longer
      destinationBits: ['u8', 73],
      protocol: ['u8', 74], // 0: any
      family: ['u8', 75], // 4 or 6
      reserved: ['u32', 76],
    },
  },
  /** Where packets go that mark rules may lead to a service; also given to the classifier. */
  markEnd: {
    bytes: 24,
    fields: {
      address: ['addr', 0],
      portFirst: ['u16', 16], // both ends included
      portLast: ['u16', 18],
      protocol: ['u8', 20],
      bits: ['u8', 21], // of 128; 0 for any IPv6 address, 96 for any IPv4 address
      family: ['u8', 22],
      reserved: ['u8', 23],
    },
  },
  /** One port of one worker; written by the worker. `rxIndex` survives the worker's death. */
  portWords: {
    bytes: 64,
    fields: {
      rxIndex: ['u32', 0], // next ring slot to read
      reserved: ['u32', 4],
      rxFrames: ['u64', 8],
      txFrames: ['u64', 16],
      rxBytes: ['u64', 24],
      txBytes: ['u64', 32],
    },
  },
  /** A persistence template; the table is shared by all workers (spec 4). */
  template: {
    bytes: 96,
    fields: {
      clientAddress: ['addr', 0], // masked
      virtualAddress: ['addr', 16], // or the fwmark in an address's place (spec 4.1)
      virtualPort: ['u16', 32],
      protocol: ['u8', 34], // 0 for a fwmark template
      family: ['u8', 35],
      state: ['u32', 36], // TEMPLATE_STATE; native sets ASSURED
      destinationSlot: ['u32', 40],
      serviceSlot: ['u32', 44],
      connections: ['i32', 48], // slaves (n_control); native adds and subtracts, atomically
      timeoutSec: ['u32', 52],
      expiresSec: ['u32', 56], // seconds of the director's monotonic clock
      next: ['u32', 60], // bucket chain, index + 1
      destinationPort: ['u16', 64],
      textBytes: ['u16', 66], // of its text in the block beside this one, 0 for none
      fwmark: ['u32', 68],
      packets: ['u32', 72],
      serviceIncarnation: ['u32', 76],
      destinationIncarnation: ['u32', 80], // tells a reused destination slot from ours
      bucket: ['u32', 84], // where its index keeps its lock and chain
      reserved3: ['u64', 88],
    },
  },
  /** One connection as the listing shows it; native fills on request. */
  connectionRow: {
    bytes: 96,
    fields: {
      clientAddress: ['addr', 0],
      virtualAddress: ['addr', 16],
      destinationAddress: ['addr', 32],
      localAddress: ['addr', 48],
      clientPort: ['u16', 64],
      virtualPort: ['u16', 66],
      destinationPort: ['u16', 68],
      localPort: ['u16', 70],
      protocol: ['u8', 72],
      state: ['u8', 73],
      method: ['u8', 74],
      family: ['u8', 75],
      flags: ['u32', 76],
      expiresMs: ['u32', 80],
      serviceSlot: ['u16', 84],
      destinationSlot: ['u16', 86],
      inPackets: ['u32', 88],
      templateRef: ['u32', 92],
    },
  },
} as const satisfies Record<string, RecordLayout>

export type RecordName = keyof typeof RECORDS

/** Byte offset of a field, for use where a typed array is indexed by hand. */
export function offsetOf<R extends RecordName>(
  record: R,
  field: keyof (typeof RECORDS)[R]['fields'],
): number {
  const fields: Readonly<Record<string, Field>> = RECORDS[record].fields
  return fields[field as string][1]
}

/** First four bytes of a digest over everything above: both sides must have the same. */
export const LAYOUT_HASH = createHash('sha256')
  .update(JSON.stringify([LIMITS, RECORDS, REASONS, SYSCTL_INDEX, METHOD, TCP_STATE, SCTP_STATE]))
  .digest()
  .readUInt32LE(0)
