#!/usr/bin/env bash
# Makes this checkout ready: system packages, npm packages, build. Does only what is missing, so a
# second run takes well under a second. Every entry command calls it first.
#   scripts/setup.sh run|demo|test        which system packages: to run uvs, the demo, the tests
# As root on Debian or Ubuntu, missing packages are installed; anywhere else one message names them.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-run}
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { echo "setup: $*" >&2; }
die() {
  say "$@"
  exit 1
}

# --- Node ---------------------------------------------------------------------------------------

command -v node >/dev/null || die "Node.js 20.19 or later is needed; see https://nodejs.org/"
command -v npm >/dev/null || die "npm is needed; it comes with Node.js, see https://nodejs.org/"
if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number)
    process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
  die "Node.js 20.19 or later is needed; this is $(node --version), see https://nodejs.org/"
fi

# One setup at a time: `npm test` and `npm run demo` may be started together. Descriptor 9 is
# closed for the package managers, so that nothing they leave running can hold the lock.
mkdir -p build
for folder in . build; do
  [ -w "$folder" ] || die "no right to write in $PWD/$folder; was it made by another user?"
done
exec 9>build/.setup.lock
if command -v flock >/dev/null; then flock 9; fi

# --- System packages ----------------------------------------------------------------------------

# One line per need: what to look for (a command or a file), the Debian package, what it is for.
needs() {
  cat <<'LIST'
g++ g++ run a C++20 compiler
make make run the build
python3 python3 run node-gyp
flock util-linux run the build
/usr/include/pcap.h libpcap-dev run packet capture
ip iproute2 run network namespaces and routes
curl curl demo HTTP requests
iperf3 iperf3 test bulk traffic
wrk wrk test HTTP load
tcpdump tcpdump test captures
nft nftables test filters
dnsmasq dnsmasq-base test a DNS server
vsftpd vsftpd test an FTP server
nginx nginx-light test an HTTP server
sipp sip-tester test SIP calls
/usr/lib/nginx/modules/ngx_stream_module.so libnginx-mod-stream test a TCP proxy to compare with
haproxy haproxy test a TCP proxy to compare with
vsftpd vsftpd test an FTP server
ethtool ethtool test offload settings
qemu-system-x86_64 qemu-system-x86 test a kernel with IPVS
busybox busybox-static test a kernel with IPVS
modprobe kmod test a kernel with IPVS
ipvsadm ipvsadm test what IPVS users have
keepalived keepalived test what IPVS users have
clang++ clang test sanitizers and fuzzing
clang-format clang-format test formatting
LIST
}

# The libFuzzer and sanitizer runtimes of the installed clang; Debian packs them apart from it.
clang_runtime_missing() {
  command -v clang++ >/dev/null || return 1
  ! [ -e "$(clang++ --print-file-name="libclang_rt.fuzzer-$(uname -m).a")" ] &&
    ! [ -e "$(clang++ --print-file-name=libclang_rt.fuzzer.a)" ]
}

clang_runtime_package() {
  local major
  major=$(clang++ -dumpversion | cut -d. -f1)
  if apt-cache show "libclang-rt-$major-dev" >/dev/null 2>&1; then
    echo "libclang-rt-$major-dev"
  else
    echo "libclang-common-$major-dev" # before Debian 12
  fi
}

wanted_in() { # profile of the need -> is it part of the profile asked for?
  case "$profile" in
    test) return 0 ;;
    demo) [ "$1" != test ] ;;
    *) [ "$1" = run ] ;;
  esac
}

missing_packages() {
  local probe package for what
  while read -r probe package for what; do
    wanted_in "$for" || continue
    case "$probe" in
      /*) [ -e "$probe" ] || echo "$package" ;;
      *) command -v "$probe" >/dev/null || echo "$package" ;;
    esac
  done < <(needs)
  if [ "$profile" = test ] && clang_runtime_missing; then clang_runtime_package; fi
}

apt_install() {
  local log=build/apt.log policy=/usr/sbin/policy-rc.d made_policy=no status=0
  export DEBIAN_FRONTEND=noninteractive
  local get=(apt-get -q -o DPkg::Lock::Timeout=300)
  # Test tools that are also services (nginx, haproxy) must not start listening on this machine.
  if ! [ -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    made_policy=yes
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  local install=("${get[@]}" install -y --no-install-recommends "$@")
  if ! "${install[@]}" >"$log" 2>&1 9>&-; then
    # Package lists that are absent or out of date are the common reason.
    { "${get[@]}" update && "${install[@]}"; } >"$log" 2>&1 9>&- || status=$?
  fi
  if [ "$made_policy" = yes ]; then
    rm -f "$policy"
    trap - EXIT
  fi
  if [ "$status" -ne 0 ]; then
    tail -n 20 "$log" >&2
    die "apt-get could not install: $* (whole log: $log)"
  fi
  local service
  local services=(nginx:nginx-light haproxy:haproxy keepalived:keepalived ipvsadm:ipvsadm)
  for service in "${services[@]}" vsftpd:vsftpd; do
    if [[ " $* " == *" ${service#*:} "* ]] && [ -d /run/systemd/system ]; then
      systemctl disable --quiet "${service%:*}" 9>&- || true
    fi
  done
}

# Twice: which clang runtime is missing is known only once clang itself is there.
for _ in 1 2; do
  mapfile -t packages < <(missing_packages)
  [ ${#packages[@]} -eq 0 ] && break
  if ! command -v apt-get >/dev/null; then
    die "please install what these Debian packages hold, then run this again: ${packages[*]}"
  fi
  if [ "$(id -u)" -ne 0 ]; then
    die "please run: sudo apt-get install --no-install-recommends ${packages[*]}"
  fi
  say "installing system packages: ${packages[*]}"
  apt_install "${packages[@]}"
done
mapfile -t packages < <(missing_packages)
[ ${#packages[@]} -eq 0 ] || die "still missing after the installation: ${packages[*]}"

# --- npm packages -------------------------------------------------------------------------------

# The module ABI is part of the key: `pcap` is compiled against it.
npm_key=$({ cat package-lock.json && node -p process.versions.modules; } | sha256sum)
npm_stamp=node_modules/.uvs-setup
if [ "$(cat "$npm_stamp" 2>/dev/null)" != "$npm_key" ]; then
  say "installing npm packages"
  headers=$(node scripts/node-headers.mjs)
  if [ -n "$headers" ]; then export npm_config_nodedir=$headers; fi
  npm ci --no-audit --no-fund --loglevel=error >build/npm.log 2>&1 9>&- || {
    tail -n 30 build/npm.log >&2
    die "npm ci failed (whole log: build/npm.log)"
  }
  echo "$npm_key" >"$npm_stamp"
fi

# --- Build --------------------------------------------------------------------------------------

# A digest of names, sizes and dates of the given files and folders.
digest() {
  find "$@" -name build -prune -o -type f -printf '%p %s %T@\n' 2>/dev/null | sort | sha256sum
}

# stage NAME COMMAND INPUT...: runs `npm run COMMAND` unless the inputs are as they were after the
# last success. Inputs are read again afterwards, because `gen` writes one of its own.
stage() {
  local name=$1 command=$2 stamp=build/.stamp-$1
  shift 2
  [ "$(cat "$stamp" 2>/dev/null)" = "$(digest "$@")" ] && return
  rm -f "$stamp"
  say "building: $name"
  npm run --silent "$command" >"build/$name.log" 2>&1 9>&- || {
    cat "build/$name.log" >&2
    die "npm run $command failed"
  }
  digest "$@" >"$stamp"
}

for file in uvs.node ipvs_shim.so; do
  [ -e "native/build/Release/$file" ] || rm -f build/.stamp-native
done
[ -d dist ] || rm -f build/.stamp-typescript
stage layout gen src/dataplane/layout.ts src/dataplane/gen-layout.ts native/layout.gen.h
stage native build:native native scripts/build-native.mjs "$npm_stamp"
ts_folders=()
for folder in src test bench scripts demo; do [ -d "$folder" ] && ts_folders+=("$folder"); done
stage typescript build:ts "${ts_folders[@]}" tsconfig.json "$npm_stamp"
