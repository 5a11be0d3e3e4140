/**
 * The DAEMON attribute: starting, stopping and showing the synchronisation daemons
 * (net/netfilter/ipvs/ip_vs_ctl.c: ip_vs_genl_new_daemon, ip_vs_genl_del_daemon,
 * ip_vs_genl_fill_daemon; ipvsadm's libipvs.c for the order of a request; spec 9.1).
 */
import type { Address } from '../model/address.js'
import { AttributeWriter, type Attributes, readNested } from './attributes.js'
import { accept, refuse } from './errno.js'
import type { WireResult } from './errno.js'
import { COMMAND_ATTR, DAEMON_ATTR, DAEMON_POLICY } from './ipvs-attributes.js'
import type { WireDaemon } from './ipvs-types.js'
import { addressBytes, addressFromBytes } from './wire-values.js'

/** DAEMON of a request; what is 0 or undefined is left out, so that the default applies. */
export function writeDaemon(writer: AttributeWriter, daemon: WireDaemon): void {
  writer.flaggedNested(COMMAND_ATTR.daemon, () => {
    writeId(writer, daemon)
    if (daemon.maxLength !== 0) writer.u16(DAEMON_ATTR.maxLength, daemon.maxLength)
    if (daemon.port !== 0) writer.u16(DAEMON_ATTR.port, daemon.port)
    if (daemon.ttl !== 0) writer.u8(DAEMON_ATTR.ttl, daemon.ttl)
    writeGroup(writer, daemon.group)
  })
}

/** The attributes of one message of a listing. */
export function packDaemonReply(daemon: WireDaemon): Uint8Array {
  const writer = new AttributeWriter()
  return writer
    .nested(COMMAND_ATTR.daemon, () => {
      writeId(writer, daemon)
      writer
        .u16(DAEMON_ATTR.maxLength, daemon.maxLength)
        .u16(DAEMON_ATTR.port, daemon.port)
        .u8(DAEMON_ATTR.ttl, daemon.ttl)
      writeGroup(writer, daemon.group)
    })
    .finish()
}

function writeId(writer: AttributeWriter, daemon: WireDaemon): void {
  writer
    .u32(DAEMON_ATTR.state, daemon.state)
    .string(DAEMON_ATTR.interface, daemon.interface)
    .u32(DAEMON_ATTR.syncId, daemon.syncId)
}

function writeGroup(writer: AttributeWriter, group: Address | undefined): void {
  if (group === undefined) return
  const bytes = addressBytes(group)
  if (group.family === 4) writer.binary(DAEMON_ATTR.group, bytes.subarray(0, 4))
  else writer.binary(DAEMON_ATTR.group6, bytes)
}

/**
 * The daemon a start asks for. EINVAL: DAEMON is absent or malformed, state, interface or syncid
 * are missing, or the group is not multicast. The state may be any number: spec 8.2 says when it is
 * looked at.
 */
export function unpackDaemon(container: Uint8Array | undefined): WireResult<WireDaemon> {
  const read = readNested(container, DAEMON_POLICY)
  if (!read.ok) return read
  const daemon = daemonOf(read.value)
  if (daemon === undefined || (daemon.group && !isMulticast(read.value))) return refuse('EINVAL')
  return accept(daemon)
}

/** The state (DAEMON_STATE, or what a bad request says) a stop asks for; EINVAL without one. */
export function unpackDaemonStop(container: Uint8Array | undefined): WireResult<number> {
  const read = readNested(container, DAEMON_POLICY)
  if (!read.ok) return read
  const state = read.value.u32(DAEMON_ATTR.state)
  return state === undefined ? refuse('EINVAL') : accept(state)
}

/** The DAEMON of a kernel's answer; EINVAL when it is not a whole one. */
export function unpackDaemonReply(container: Uint8Array | undefined): WireResult<WireDaemon> {
  const read = readNested(container, DAEMON_POLICY)
  if (!read.ok) return read
  const daemon = daemonOf(read.value)
  return daemon === undefined ? refuse('EINVAL') : accept(daemon)
}

function daemonOf(attributes: Attributes): WireDaemon | undefined {
  const state = attributes.u32(DAEMON_ATTR.state)
  const name = attributes.string(DAEMON_ATTR.interface)
  const syncId = attributes.u32(DAEMON_ATTR.syncId)
  if (state === undefined || name === undefined || syncId === undefined) return undefined
  return {
    state,
    interface: name,
    syncId,
    maxLength: attributes.u16(DAEMON_ATTR.maxLength) ?? 0,
    group: groupOf(attributes),
    port: attributes.u16(DAEMON_ATTR.port) ?? 0,
    ttl: attributes.u8(DAEMON_ATTR.ttl) ?? 0,
  }
}

/** The IPv4 group wins where both are given. */
function groupOf(attributes: Attributes): Address | undefined {
  const ipv4 = attributes.binary(DAEMON_ATTR.group, 16)
  if (ipv4 !== undefined) return addressFromBytes(4, ipv4)
  const ipv6 = attributes.binary(DAEMON_ATTR.group6, 16)
  return ipv6 && addressFromBytes(6, ipv6)
}

/** 224.0.0.0/4 or ff00::/8. */
function isMulticast(attributes: Attributes): boolean {
  const ipv4 = attributes.raw(DAEMON_ATTR.group)
  if (ipv4 !== undefined) return ipv4[0] >> 4 === 0xe
  return attributes.raw(DAEMON_ATTR.group6)?.[0] === 0xff
}
