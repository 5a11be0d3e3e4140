/**
 * The only file that loads the addon: typed classes over it. Node-API objects are made here and
 * nowhere else; arguments are checked in TypeScript's types and again, where memory is at stake,
 * in native/core_wrap.cc.
 */
import { createRequire } from 'node:module'
import { LAYOUT_HASH } from './layout.js'

/** A descriptor of a port that main has opened and a worker borrows. */
export interface BorrowedPort {
  readonly kind: 'af_packet' | 'tun'
  readonly fd: number
  readonly ifindex: number
  readonly ringFrames: number
}

/**
 * Ports without kernel: `memory` takes injected frames, `generator` makes them (benchmarks),
 * `replay` reads one capture file and writes another ('' for none).
 */
export type SyntheticPort =
  | { readonly kind: 'memory' }
  /** With `packets` it starts at once: that many, of flows 0 to `flows` - 1, with `tcpFlags`. */
  | {
      readonly kind: 'generator'
      readonly address: number
      readonly port: number
      /** With the TCP options of a client's SYN. */
      readonly options?: boolean
      readonly packets?: number
      readonly flows?: number
      readonly tcpFlags?: number
    }
  | { readonly kind: 'replay'; readonly input: string; readonly output: string }

/**
 * Ends of the sockets through which one worker gets the datagrams that others put together from
 * fragments (native/io/handover.h); -1 with one worker.
 */
export interface Handover {
  readonly receive: number
  readonly send: number
}

/** How a core finds next hops: the kernel's routes, or one fixed hop per port (tests). */
export type HopSource = 'kernel' | 'static'

export interface CoreOptions {
  readonly layoutHash: number
  readonly worker: number
  readonly workers: number
  readonly connections: number
  readonly table: Uint8Array
  readonly misses: Uint8Array
  readonly missTexts: Uint8Array
  readonly words: Uint8Array
  readonly portWords: Uint8Array
  readonly templates: Uint8Array
  readonly loads: Uint8Array
  readonly serviceTraffic: Uint8Array
  readonly destinationTraffic: Uint8Array
  readonly totalTraffic: Uint8Array
  readonly reasons: Uint8Array
  readonly ports: readonly (BorrowedPort | SyntheticPort)[]
  /** Index of the port that leads to this host's own stack; -1: none. */
  readonly hostPort: number
  readonly hops: HopSource
  /** Descriptor of a bell (NativePortSet) that ends a wait; none unless given. */
  readonly bell?: number
  /** Descriptors of NativePortSet.handovers(); none unless given. */
  readonly handovers?: readonly Handover[]
  /** Keys the flow hash of a fresh table: 64 random bits. */
  readonly seed: bigint
  /** True: time stands still except for setTime(). */
  readonly manualClock: boolean
}

/** One worker's packet path (native/core.h). Any call after close() throws ERR_CLOSED. */
export interface NativeCore {
  /** Adopts a snapshot block; throws ERR_SNAPSHOT and keeps the old one if it is bad. */
  adopt(snapshot: Uint8Array): void
  /** One burst; waits at most `waitUs` when nothing is there. Returns misses wanting a verdict. */
  poll(waitUs: number): number
  /** Carries out the verdicts that were written into the miss batch. */
  resolve(): void
  /** Releases ports and memory. Idempotent. */
  close(): void
  /**
   * Fills `rows` (`connectionRow` records) from `cursor` on. Returns how many; `next[0]` is where
   * to go on, 0xffffffff at the end.
   */
  readConnections(cursor: number, rows: Uint8Array, next: Uint32Array): number
  /** Ends every connection of a destination slot (-1: all). Returns how many. */
  expireConnections(destinationSlot: number): number
  /** Manual clock: microseconds. */
  setTime(us: number): void
  /** Memory port: frames that the next bursts will receive. */
  inject(frames: readonly Uint8Array[]): void
  /** Memory port: frames sent since the last call. */
  collect(): Uint8Array[]
  /** Generator port: see native/io/generator_port.h. */
  generate(count: number, first: number, flows: number, stride: number, tcpFlags: number): void
  /**
   * Replay port: moves the manual clock to the next packet's and says whether the end was reached;
   * then the output file is complete.
   */
  replayed(): boolean
}

/** The ports of the director, opened by main (native/io_wrap.h). */
export interface NativePortSet {
  /** [worker][port] descriptors; the last port leads to the host's own stack. */
  descriptors(): number[][]
  /** [worker] descriptors: `CoreOptions.bell`. */
  bells(): number[]
  /** [worker] descriptors: `CoreOptions.handovers`. */
  handovers(): Handover[]
  /** Ends the worker's wait for packets, or its next one: it has mail. */
  ring(worker: number): void
  /** By port; 0 when the interface is gone. */
  ifindexes(): number[]
  /** Replaces the classifier's entries: 28-byte records, 24 bytes of key and 4 of flags. */
  setEntries(entries: Uint8Array): void
  /** Replaces what mark rules select: `markEnd` records. */
  setMarked(ends: Uint8Array): void
  setLocalPorts(first: number, last: number): void
  /** The first port, beside 20, of what FTP_DATA entries take. */
  setFtpDataFirst(port: number): void
  attachQuiet(): void
  detachQuiet(): void
  close(): void
}

export interface PortSetOptions {
  readonly io: 'af_packet' | 'tun'
  readonly interfaces: readonly string[]
  readonly workers: number
  readonly ringFrames: number
  readonly tunName: string
}

/**
 * A non-blocking descriptor for control protocols, polled by the event loop of the thread that made
 * it (native/raw_socket_wrap.h). Errors of the system are thrown as coded errors (EPERM...). A call
 * after close() throws ERR_CLOSED, except close() itself.
 */
export interface NativeRawSocket {
  /** One message as it was sent; undefined when none is there now. Empty at end of stream. */
  receive(): Uint8Array | undefined
  /** Sends one message whole. False when there is no room now (EAGAIN). */
  send(message: Uint8Array): boolean
  /** Called whenever something can be received or accepted; replaces the function before. */
  onReadable(listener: (() => void) | undefined): void
  /** Called while there is room to send; for senders that wait after a false of send(). */
  onWritable(listener: (() => void) | undefined): void
  /** Listening sockets: a waiting client and who it is (SO_PEERCRED); undefined when none waits. */
  accept(): { socket: NativeRawSocket; pid: number; uid: number; gid: number } | undefined
  /** What its network namespace has alone until the next boot; 0 before Linux 5.14. */
  namespaceCookie(): bigint
  close(): void
}

/** What a raw socket is for. Everything is close-on-exec. */
export type RawSocketOptions =
  /** AF_NETLINK of a protocol, bound to a port of the kernel's choice; sends to the kernel. */
  | { readonly kind: 'netlink'; readonly protocol: number }
  /**
   * AF_UNIX SOCK_SEQPACKET: message boundaries are kept. `mode` is that of the file; a path that
   * begins with @ is a name of the network namespace, without a file.
   */
  | { readonly kind: 'listen'; readonly path: string; readonly mode: number }
  | { readonly kind: 'connect'; readonly path: string }
  /** AF_PACKET of one interface: whole frames, those that it sends itself left out. */
  | { readonly kind: 'packet'; readonly interface: string }

/** An interface of this network namespace (native/host_wrap.h). */
export interface NativeInterface {
  readonly ifindex: number
  readonly name: string
  readonly up: boolean
  readonly mtu: number
  /** What comes out of it was inside other packets: tunl0, gre0, sit0, ip6tnl0... */
  readonly isTunnel: boolean
  readonly addresses: readonly { readonly text: string; readonly prefixBits: number }[]
}

interface Addon {
  readonly Core: new (options: CoreOptions) => NativeCore
  readonly PortSet: new (options: PortSetOptions) => NativePortSet
  readonly RawSocket: new (options: RawSocketOptions) => NativeRawSocket
  readonly layoutHash: number
  hostInterfaces(): readonly NativeInterface[]
  connectionTableBytes(connections: number): number
  addressInUse(table: Uint8Array, connections: number, address: Uint8Array): boolean
  lineOffset(block: Uint8Array): number
  /** Empty string: good; otherwise what is wrong with the block. */
  checkSnapshot(snapshot: Uint8Array): string
}

const addon = createRequire(import.meta.url)(
  '../../../native/build/Release/uvs.node',
) as unknown as Addon

if (addon.layoutHash !== LAYOUT_HASH) {
  throw new Error('the native core was built from another layout.ts: run "npm run build"')
}

/** Opens a worker's core. Throws a coded error when memory or ports do not fit. */
export function openCore(options: Omit<CoreOptions, 'layoutHash'>): NativeCore {
  return new addon.Core({ ...options, layoutHash: LAYOUT_HASH })
}

/** Opens every port for every worker. Throws a coded error (EPERM, ENODEV...). */
export function openPorts(options: PortSetOptions): NativePortSet {
  return new addon.PortSet(options)
}

/** Opens a descriptor for control protocols. Throws a coded error (EPERM, EADDRINUSE...). */
export function openRawSocket(options: RawSocketOptions): NativeRawSocket {
  return new addon.RawSocket(options)
}

/** Every interface of this network namespace. Throws a coded error of the system. */
export function hostInterfaces(): readonly NativeInterface[] {
  return addon.hostInterfaces()
}

const LINE_BYTES = 64

/** Shared memory of `bytes` bytes, zeroed, that starts on a cache line. */
export function sharedLines(bytes: number): Uint8Array {
  const block = new Uint8Array(new SharedArrayBuffer(bytes + LINE_BYTES))
  const offset = addon.lineOffset(block)
  return block.subarray(offset, offset + bytes)
}

/** Bytes of one worker's connection table for at most `connections` connections. */
export function connectionTableBytes(connections: number): number {
  return addon.connectionTableBytes(connections)
}

/**
 * Whether a connection in a worker's table, of at most `connections`, names an address (16 bytes,
 * IPv4 mapped). The worker goes on meanwhile.
 */
export function addressInUse(table: Uint8Array, connections: number, address: Uint8Array): boolean {
  return addon.addressInUse(table, connections, address)
}

/** The check that adopt() makes, for main before it publishes; undefined when the block is good. */
export function snapshotFault(snapshot: Uint8Array): string | undefined {
  const fault = addon.checkSnapshot(snapshot)
  return fault === '' ? undefined : fault
}
