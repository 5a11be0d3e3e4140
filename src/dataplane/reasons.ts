/** Every reason that is counted for a packet, by name: part of what native code must agree on. */

/**
 * Why a packet was dropped, or left to the host. One list makes the C++ enum, the counters, the
 * metric labels and the text of `uvs status`; the index is the position in the shared lane.
 */
export const REASONS = [
  // Parse: the frame is not what its lengths say (RFC 791, RFC 8200, RFC 9293, RFC 768).
  ['frame_truncated', 'frame shorter than its Ethernet header or ARP packet'],
  ['not_ip', 'neither IPv4 nor IPv6: left to the host'],
  ['ip_truncated', 'shorter than its IP header or its stated length'],
  ['ip_bad_version', 'version field does not match the Ethernet type'],
  ['ip_bad_header_length', 'IPv4 header length below 20 bytes or beyond the packet'],
  ['ip_bad_checksum', 'IPv4 header checksum wrong'],
  ['ip_bad_total_length', 'IP total length smaller than its headers'],
  ['ip6_bad_extension', 'IPv6 extension header chain broken or too long'],
  ['fragment_duplicate', 'fragment that was there already'],
  ['fragment_bad', 'fragment that cannot be part of its datagram, which is given up'],
  ['fragment_overlap', 'overlapping fragments: their datagram is given up'],
  ['fragment_tiny', 'IPv6 fragment below the smallest MTU, or a datagram in too many fragments'],
  ['fragment_too_long', 'fragments of a datagram above 65535 bytes'],
  ['fragment_timeout', 'datagram whose fragments did not all come in time'],
  ['fragment_overflow', 'datagram in fragments, given up unfinished to make room for newer ones'],
  ['handover', 'packet that the worker of its flow could not take'],
  ['l4_truncated', 'shorter than its TCP, UDP, SCTP or ICMP header'],
  ['tcp_bad_offset', 'TCP data offset below 20 bytes or beyond the segment'],
  ['udp_bad_length', 'UDP length below 8 or beyond the packet'],
  ['source_bad', 'source multicast, broadcast, unspecified, loopback or IPv4-mapped'],
  ['offload_bad', 'virtio header does not fit the packet'],
  // Classify.
  ['no_service', 'no virtual service: left to the host, or answered in its place'],
  ['not_syn', 'TCP without connection that begins none: answered with RST'],
  ['not_init', 'SCTP without connection and without INIT: left to the host'],
  ['protocol_unknown', 'neither TCP, UDP, SCTP nor ICMP: left to the host'],
  ['icmp_unrelated', 'ICMP about no connection: left to the host'],
  ['ftp_data_source', 'new flow from port 20: answered with RST or ICMP port unreachable'],
  // Schedule and track.
  ['no_destination', 'no destination could take the connection; answered with ICMP'],
  ['load_dropped', 'new connection given up to save memory (drop_packet)'],
  ['scheduler_failed', 'the scheduler failed; see the log'],
  ['destination_gone', 'the destination of the connection was removed'],
  ['table_full', 'connection table full'],
  ['address_table_full', 'too many distinct virtual and destination addresses'],
  ['call_id_missing', 'for a service with the SIP engine: not UDP, or without Call-ID'],
  ['template_table_full', 'no room for a template with a Call-ID'],
  ['local_port_exhausted', 'no free local address and port for FULLNAT'],
  ['local_address_none', 'FULLNAT destination but the service has no local address'],
  // SYNPROXY (spec 12.9).
  ['synproxy_answered', 'SYN answered with a cookie; nothing is kept of it'],
  ['synproxy_no_weight', 'SYN for a SYNPROXY service whose destinations all have weight 0'],
  ['synproxy_bad_cookie', 'ACK without connection whose SYN cookie is not ours; answered with RST'],
  ['synproxy_deferred', 'ACK without data while synproxy_defer waits for the first data'],
  ['synproxy_waiting', 'too much came, or no ACK, while the real server is being asked'],
  ['synproxy_server_odd', 'answer of a real server that fits no SYN of ours'],
  ['synproxy_no_answer', 'the real server answered none of the SYNs; counted by connection'],
  ['synproxy_ack_storm', 'the same ACK of a real server again and again'],
  // Forward.
  ['no_route', 'no route; answered with ICMP host unreachable'],
  ['neighbour_unresolved', 'the next hop did not answer in time'],
  ['neighbour_queue_full', 'too many packets already wait for next hops'],
  ['ttl_exceeded', 'TTL reached zero; answered with ICMP time exceeded'],
  ['too_big', 'larger than the path; answered with ICMP packet too big'],
  ['too_big_silent', 'too large for a tunnel or to be cut into fragments; not answered'],
  ['fragment_needed', 'larger than the path, DF clear: sent in fragments'],
  ['no_headroom', 'no room in the frame for what would be added to the packet'],
  ['method_unsupported', 'the port, or SYNPROXY, cannot carry this forwarding method'],
  ['icmp_limited', 'an answer (ICMP, RST) was due but limited by rate'],
  ['icmp_bad_checksum', 'ICMP checksum wrong'],
  ['tcp_bad_checksum', 'TCP checksum wrong on a connection with a helper'],
  ['helper_order', 'cannot be placed beside an edited reply yet; TCP repeats it'],
  ['icmp6_fragment', 'ICMPv6 error in fragments'],
  ['echo_answered', 'echo request to an announced address: answered'],
  ['nat_unknown', 'of a NAT server, no connection; answered with ICMP (nat_icmp_send)'],
  ['route_refused', 'bypassed (cache_bypass), but its route now ends on this host'],
  ['proxy_unplaced', 'client data that the PROXY header must precede; the client sends it again'],
  ['nat64_untranslatable', 'ICMP error that the other address family has no form for'],
  // Out.
  ['tx_full', 'the port did not take the frame'],
  ['tx_error', 'the port refused the frame'],
  ['rx_overrun', 'the kernel dropped frames before the ring was read'],
] as const satisfies readonly (readonly [string, string])[]

export type ReasonName = (typeof REASONS)[number][0]

const TEXTS: ReadonlyMap<string, string> = new Map(REASONS)

/** What a reason means, for people; empty for a name that is none. */
export function reasonText(name: string): string {
  return TEXTS.get(name) ?? ''
}

/** Index of a reason in a lane of the reasons block. */
export function reasonIndex(name: ReasonName): number {
  return REASONS.findIndex(([n]) => n === name)
}

/** u64 words in one lane of the reasons block; a whole number of cache lines. */
export const REASON_LANE_WORDS = 128
