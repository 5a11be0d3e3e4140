#!/usr/bin/env bash
# Makes the checkout ready for development (see setup.sh), then becomes the given command.
set -euo pipefail
here=$(dirname "$0")
bash "$here/setup.sh" test
exec "$@"
