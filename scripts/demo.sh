#!/usr/bin/env bash
# The demo from a bare checkout: makes it ready (see setup.sh), then runs demo/main.ts.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" -ne 0 ]; then
  echo "demo: it makes network namespaces and therefore needs root: sudo npm run demo" >&2
  exit 1
fi
bash scripts/setup.sh demo
exec node --enable-source-maps dist/demo/main.js "$@"
