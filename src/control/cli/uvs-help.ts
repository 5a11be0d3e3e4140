/** The texts of `uvs help` and `uvs help COMMAND`. */

export const GENERAL_HELP = `usage: uvs COMMAND [options]

  run       be the director, in the foreground
  ipvsadm   define services and destinations, list them (ipvsadm 1.31 and FULLNAT)
  status    ports, workers, services, rates and drops on one screen
  conns     the connection table
  shim      run ipvsadm, keepalived or another IPVS program against this director
  help      this text; "uvs help COMMAND" says more

UVS_SOCKET names the control socket (default /run/uvs/uvs.sock).
`

const COMMANDS: Readonly<Record<string, string>> = {
  run: `usage: uvs run [options]

  --config FILE          configuration file (YAML)
  --rules FILE           services to start with, as ipvsadm-save wrote them
  --io af_packet|tun     where packets come from (default af_packet)
  --iface IF[,IF...]     interfaces to work on, with af_packet
  --tun NAME             name of the device, with tun (default uvs0)
  --offload kernel|auto  the kernel's own IPVS forwards, uvs decides; auto: where it can
  --foreign leave|remove with --offload: services in the kernel that uvs does not know
  --workers N            packet workers (default: processors less one)
  --announce on|off      answer ARP and ND for virtual addresses nobody has (default on)
  --lip A[-B][,...]      local addresses for FULLNAT services without their own
  --set NAME=VALUE       an IPVS sysctl by its kernel name; may be repeated
  --socket PATH          control socket (default UVS_SOCKET or /run/uvs/uvs.sock)
  --http ADDR:PORT       the API and /metrics over TCP (off unless given)
  --log-format text|json lines on stderr (default: text on a terminal)

Prints "uvs ready" once packets are forwarded. SIGTERM stops it and leaves nothing behind;
SIGHUP reads the configuration file again, and a bad file changes nothing.
Exit status: 0 stopped in order, 1 an operation failed, 2 wrong usage.
`,
  ipvsadm: `usage: uvs ipvsadm [ipvsadm options]     (the same as bin/ipvsadm)

Options, output and exit statuses are those of ipvsadm 1.31; see "uvs ipvsadm --help". In addition:

  -a|-e ... -b, --fullnat                    FULLNAT: replace both addresses
  -P|--add-laddr SERVICE -z ADDRESS          add a local address (FULLNAT source)
  -Q|--del-laddr SERVICE -z ADDRESS          remove a local address
  -G|--get-laddr [SERVICE]                   list local addresses
  -A|-E ... --proxy-protocol disable|v1|v2|v1-insecure|v2-insecure
                                             tell FULLNAT servers the client in a PROXY header
  -A|-E ... -j|--synproxy enable|disable     answer SYNs with cookies (NAT and FULLNAT)
  -L ... --json, -G ... --json               the same list as JSON
`,
  status: `usage: uvs status [--json] [--socket PATH]

Ports, workers, services, rates, and packets that were not forwarded by reason.
`,
  conns: `usage: uvs conns [filters] [--json] [--socket PATH]

Connections and persistence templates.

  --protocol tcp|udp|ip      ip: templates of firewall marks
  --client ADDR[:PORT]       --virtual ADDR[:PORT]       --destination ADDR[:PORT]
  --state NAME               for example ESTABLISHED

With --json: one JSON object per line.
`,
  shim: `usage: uvs shim [--socket PATH] COMMAND [ARGS...]
       uvs shim [--socket PATH] --env

Runs COMMAND, unmodified, with its IPVS calls going to the director instead of the kernel: generic
netlink, socket options, /proc/net/ip_vs* and /proc/sys/net/ipv4/vs. Everything else it does, it
does as before. Without a director it finds what it finds on a kernel without IPVS.

  uvs shim ipvsadm -Ln
  uvs shim keepalived --dont-fork --log-console

Programs it starts are carried too. Changes need root or the director's own user. With --env it
prints LD_PRELOAD and UVS_SOCKET, to start programs without uvs: env $(uvs shim --env) COMMAND, or
as the EnvironmentFile of a systemd unit. The former takes no quotes, so --env refuses paths with
blanks or other characters of shells; before a COMMAND, every socket path will do.
Exit status: that of COMMAND, 128 + N where signal N ended it, 127 where it is not found; 1 where
the preload library is missing or --env refuses a path, 2 wrong usage.
`,
  help: `usage: uvs help [COMMAND]
`,
}

/** The text for one command; undefined when there is no such command. */
export function commandHelp(command: string): string | undefined {
  return Object.hasOwn(COMMANDS, command) ? COMMANDS[command] : undefined
}
