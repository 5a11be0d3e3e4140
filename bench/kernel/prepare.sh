#!/usr/bin/env bash
# Makes ready what the guest boots from: Debian's kernel and its modules, downloaded and unpacked
# into a cache folder (nothing is installed), and a small initramfs. Prints the folder, which then
# holds vmlinuz, initramfs, version and modules/. A second call takes no time.
#   bench/kernel/prepare.sh          UVS_KERNEL_CACHE names another cache folder
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin

cache=${UVS_KERNEL_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/uvs/kernel}
die() {
  echo "kernel rig: $*" >&2
  exit 1
}

[ "$(uname -m)" = x86_64 ] || die "the guest is an x86-64 machine; this is $(uname -m)"
for program in qemu-system-x86_64 busybox depmod modprobe apt-get dpkg flock; do
  command -v "$program" >/dev/null || die "$program is missing: run scripts/setup.sh kernel"
done
mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9

# The metapackage names the newest kernel of this release; with old package lists the one it names
# may be gone from the mirror, so lists are renewed once.
newest() {
  apt-cache depends linux-image-amd64 2>/dev/null |
    sed -n 's/.*Depends: \(linux-image-[0-9]\S*\)/\1/p' | head -n 1
}
download() { # into the present folder
  local package
  package=$(newest)
  [ -n "$package" ] && apt-get -q download "$package" >download.log 2>&1
}

if ! [ -e "$cache/version" ]; then
  work=$(mktemp -d "$cache/.unpack-XXXXXX")
  trap 'rm -rf "$work"' EXIT
  cd "$work"
  download || { apt-get -q update >update.log 2>&1 && download; } ||
    die "Debian's kernel package could not be downloaded: $(tail -n 1 download.log)"
  dpkg -x linux-image-*.deb root
  version=$(cd root/lib/modules && ls)
  depmod -b root "$version"
  rm -rf "$cache/modules"
  mv root/lib/modules "$cache/modules"
  mv "root/boot/vmlinuz-$version" "$cache/vmlinuz"
  cd "$cache"
  # Last: whoever finds it finds the rest.
  echo "$version" >version
fi

# The initramfs: busybox, /init, and the modules that reach the machine's root over 9p.
version=$(cat "$cache/version")
key=$(sha256sum "$here/prepare.sh" "$here/init" "$cache/version" | sha256sum)
if [ "$(cat "$cache/initramfs.key" 2>/dev/null)" != "$key" ]; then
  tree=$(mktemp -d "$cache/.initramfs-XXXXXX")
  trap 'rm -rf "$tree" ${work:+"$work"}' EXIT
  mkdir -p "$tree"/{bin,dev,proc,sys,modules,host,writable,root}
  cp "$(command -v busybox)" "$tree/bin/busybox"
  cp "$here/init" "$tree/init"
  chmod 755 "$tree/init"
  mkdir -p "$tree/lib"
  ln -s "$cache/modules" "$tree/lib/modules"
  for module in virtio_pci virtio_console 9pnet_virtio 9p overlay; do
    modprobe -d "$tree" -S "$version" --show-depends "$module" | sed -n 's/^insmod \(\S*\).*/\1/p'
  done | awk '!seen[$0]++' >"$tree/list"
  rm "$tree/lib/modules"
  while read -r path; do
    file=$cache/modules/${path#*/lib/modules/}
    cp "$file" "$tree/modules/"
    basename "$file"
  done <"$tree/list" >"$tree/modules/order"
  rm "$tree/list"
  (cd "$tree" && find . | busybox cpio -o -H newc -R 0:0 2>/dev/null | gzip -1) \
    >"$cache/initramfs.new"
  mv "$cache/initramfs.new" "$cache/initramfs"
  echo "$key" >"$cache/initramfs.key"
fi
echo "$cache"
