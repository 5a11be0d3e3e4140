/** The texts of `uvs help` and `uvs help COMMAND`. */

export const GENERAL_HELP = `usage: uvs COMMAND [options]

  run       be the director, in the foreground
  ipvsadm   define services and destinations, list them (ipvsadm 1.31 and FULLNAT)
  status    ports, workers, services, rates and drops on one screen
  conns     the connection table
  sysctl    show and change the IPVS settings (net.ipv4.vs)
  mark      firewall marks of new flows, in the words of iptables
  shim      run ipvsadm, keepalived or another IPVS program against this director
  help      this text; "uvs help COMMAND" says more

UVS_SOCKET names the control socket (default /run/uvs/uvs.sock).
`

const COMMANDS: Readonly<Record<string, string>> = {
  run: `usage: uvs run [options]

  --config FILE          configuration file (YAML; docs/configuration.md)
  --rules FILE           services to start with, as ipvsadm-save wrote them
  --io af_packet|tun     where packets come from (default af_packet)
  --iface IF[,IF...]     interfaces to work on, with af_packet
  --tun NAME             name of the device, with tun (default uvs0)
  --offload kernel|auto  the kernel's own IPVS forwards, uvs decides; auto: where it can
  --foreign leave|remove with --offload: services in the kernel that uvs does not know
  --workers N            packet workers (default: processors less one)
  --mh-index N           size of mh's tables, 8 to 17, as CONFIG_IP_VS_MH_TAB_INDEX (default 12)
  --announce on|off      answer ARP and ND for virtual addresses nobody has (default on)
  --lip A[-B][,...]      local addresses for FULLNAT services without their own
  --ftp-ports P[,...]    virtual ports where NAT follows FTP, 21 unless given
  --set NAME=VALUE       an IPVS sysctl by its kernel name; may be repeated ("uvs sysctl")
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

Ports, workers, services, rates, and packets that were not forwarded, by reason and what it means.
`,
  conns: `usage: uvs conns [filters] [--json] [--socket PATH]

Connections and persistence templates.

  --protocol tcp|udp|sctp|ip ip: templates of firewall marks
  --client ADDR[:PORT]       --virtual ADDR[:PORT]       --destination ADDR[:PORT]
  --state NAME               for example ESTABLISHED

With --json: one JSON object per line.
`,
  sysctl: `usage: uvs sysctl [NAME[=VALUE] ...] [--json] [--socket PATH]

Shows the IPVS settings by their kernel names, all of them or those named, and sets those with a
value until uvs ends. net.ipv4.vs. may stand in front of a name.

  uvs sysctl conn_reuse_mode secure_tcp=1 sync_threshold="3 50"

drop_entry, drop_packet and secure_tcp: 0 off, 1 automatic and idle, 2 automatic and acting because
less than amemthresh pages are free, 3 always. Settings of the configuration file and --set take
effect again with the next start.
Exit status: 0 done, 1 a name is unknown or a value refused (the others are set), 2 wrong usage.
`,
  mark: `usage: uvs mark add RULE                 add a rule behind the others
       uvs mark del RULE | NUMBER | --all    remove one (as list numbers them), or all
       uvs mark list [--json]
       uvs mark save                         all rules, as iptables-save prints them
       uvs mark restore [-4|-6] < FILE       what iptables-save or nft list ruleset printed

Gives new flows a firewall mark, for services of ipvsadm -f, as mangle PREROUTING would: RULE is
what iptables takes there. Rules are tried in order; a mark does not end that, ACCEPT and RETURN do.

  uvs mark add -d 198.18.0.200 -p tcp --dport 21 --set-mark 21
  uvs mark add -d 198.18.0.200 -p tcp -m multiport --dports 20,10000:20000 -j MARK --set-mark 21
  iptables-save -t mangle | uvs mark restore

  [!] -p PROTOCOL     [!] -s, -d ADDRESS[/MASK][,...]     [!] -i INTERFACE[+]
  [!] --sport, --dport, --ports PORT[:PORT][,...]         [!] --src-range, --dst-range A-B
  [!] --mark V[/M]    -A CHAIN (default PREROUTING)       -4, -6 (by the addresses, else -4)
  -j MARK --set-mark, --set-xmark V[/M], --or-mark, --and-mark, --xor-mark V
  -j ACCEPT, RETURN or another chain

restore replaces the rules of the families that the text is about, all or nothing: what uvs cannot
express is refused with its line.
Options --socket PATH as everywhere. Exit status: 0 done, 1 refused, 2 wrong usage.
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
