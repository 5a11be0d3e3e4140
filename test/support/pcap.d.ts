/** The part of the `pcap` package (a binding to libpcap) that the tests use; it ships no types. */
declare module 'pcap' {
  export interface PacketWithHeader {
    /** Shared by all packets of a session: copy what is kept. */
    readonly buf: Buffer
    /** pcap_pkthdr: seconds, microseconds, captured and wire length, 32-bit little-endian. */
    readonly header: Buffer
    readonly link_type: string
  }
  export interface PcapSession {
    on(event: 'packet', listener: (packet: PacketWithHeader) => void): this
    on(event: 'complete', listener: () => void): this
    close(): void
  }
  const pcap: {
    createOfflineSession(path: string, options?: { filter?: string }): PcapSession
  }
  export default pcap
}
