/** A bounded flood of spoofed SYNs: every one from another client that does not exist. */
import type { Host } from '../../support/namespace.js'

/** Raw sockets with headers of our own, so that the sender may be anybody. */
const PROGRAM = `
import ipaddress, socket, struct, sys
to, port, count = ipaddress.ip_address(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
six = to.version == 6
base = int(ipaddress.ip_address('2001:db8:f::' if six else '198.19.0.0'))
family = socket.AF_INET6 if six else socket.AF_INET
s = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
options = bytes.fromhex('020405b40402080a000000010000000001030307')
def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return 0xffff - total
for i in range(count):
    source = ipaddress.ip_address(base + 1 + i % 60000).packed
    tcp = struct.pack('!HHIIBBHHH', 1024 + i % 60000, port, i * 7919 & 0xffffffff, 0, 0xa0, 2,
                      64240, 0, 0) + options
    pseudo = source + to.packed + struct.pack('!HH', 6, len(tcp))
    tcp = tcp[:16] + struct.pack('!H', checksum(pseudo + tcp)) + tcp[18:]
    if six:
        head = struct.pack('!IHBB', 6 << 28, len(tcp), 6, 64) + source + to.packed
    else:
        head = struct.pack('!BBHHHBBH', 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0)
        head += source + to.packed
    s.sendto(head + tcp, (str(to), 0))
print('sent', count)
`

/** Sends \`count\` SYNs to \`address\`:\`port\`; resolves when all are sent. */
export async function floodSyns(
  from: Host,
  address: string,
  port: number,
  count: number,
): Promise<void> {
  await from.expect(['python3', '-c', PROGRAM, address, String(port), String(count)])
}

/** Is it one of the senders of such a flood? */
export function isSpoofed(address: string): boolean {
  return address.startsWith('198.19.') || address.startsWith('2001:db8:f:')
}
