#!/bin/bash
# The guest's second program, on the host's own root: loads IPVS, runs the command, hands over its
# output and exit status through virtio ports (rig.ts), and switches the machine off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
# What the command loads, in memory: a file costs the guest several round trips over 9p.
run=$(sed 's/.*uvs\.run=\([^ ]*\).*/\1/' /proc/cmdline)
if [ -e "$run/files.tar" ]; then tar -xf "$run/files.tar" -C /; fi
mount -t tmpfs tmpfs /tmp
mkdir -p /dev/pts /run/netns
mount -t devpts devpts /dev/pts
mount -t bpf bpf /sys/fs/bpf
ln -sf /proc/self/fd /dev/fd
ip link set lo up

port() { # NAME -> its device; devtmpfs names devices by number only
  local entry
  for entry in /sys/class/virtio-ports/*; do
    [ "$(cat "$entry/name")" = "$1" ] && echo "/dev/${entry##*/}"
  done
}
status=$(port status)
# By name: the kernel's own request for a scheduler finds no module before the first by hand.
for module in ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_lblc ip_vs_lblcr ip_vs_dh ip_vs_sh \
  ip_vs_sed ip_vs_nq ip_vs_fo ip_vs_ovf ip_vs_mh ip_vs_ftp ip_vs_pe_sip ipip ip_gre fou veth tun \
  pktgen sctp; do
  modprobe -q "$module" || echo "uvs guest: no module $module" >/dev/console
done
bash /run/uvs-guest/command </dev/null >"$(port stdout)" 2>"$(port stderr)"
echo "$?" >"$status"
sync
echo o >/proc/sysrq-trigger
sleep 60
