/** tcpdump on a host of the lab, with an answer to "has it seen everything?". */
import { sendDatagram } from './tools.js'
import type { Host, Program } from '../../support/namespace.js'

// Sizes of the marking datagrams (to port 9, discard): each is used once.
let markerBytes = 100

/** Packets on one device, as tcpdump prints them, one line each. */
export class Capture {
  private readonly host: Host
  private readonly program: Program
  private readonly markerTarget: string

  private constructor(host: Host, program: Program, markerTarget: string) {
    this.host = host
    this.program = program
    this.markerTarget = markerTarget
  }

  /**
   * Starts tcpdump with a pcap filter and waits until it listens. `markerTarget` is an IPv4
   * neighbour behind the device: stop() sends it a datagram to know that all earlier packets were
   * seen.
   */
  static async start(
    host: Host,
    device: string,
    filter: string,
    markerTarget: string,
  ): Promise<Capture> {
    // Only headers, so that the ring has many slots; the default holds a few dozen packets.
    const room = ['--immediate-mode', '-s', '256', '-B', '8192']
    const options = [...room, '-l', '-e', '-nn', '-v', '-i', device]
    const expression = `(${filter}) or (udp dst port 9)`
    const program = host.spawn(['tcpdump', ...options, expression])
    await program.waitForOutput(/listening on/)
    return new Capture(host, program, markerTarget)
  }

  /** Ends the capture; resolves to its packets in order, headers on one line each. */
  async stop(): Promise<string[]> {
    markerBytes++
    await sendDatagram(this.host, this.markerTarget, markerBytes)
    await this.program.waitForOutput(new RegExp(`\\.9: UDP, length ${markerBytes}\\b`))
    await this.program.stop()
    const lost = /(\d+) packets? dropped by kernel/.exec(this.program.stderr)?.[1]
    if (lost !== '0') throw new Error(`the capture is not complete: ${this.program.stderr}`)
    // -v breaks a packet over lines; the later ones are indented.
    const text = this.program.stdout.replace(/\n[ \t]+/g, ' ')
    const lines = text.split('\n').filter((line) => line !== '')
    return lines.filter((line) => !/\.9: UDP, length/.test(line))
  }
}
