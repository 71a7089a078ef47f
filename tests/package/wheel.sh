#!/usr/bin/env bash
# The wheel of a release, in the folder that is named: it installs on machines where there is no compiler.
#
#   PATH=$PWD/.venv/bin:$PATH tests/package/wheel.sh dist      after pip install 'zpipe[test-all]'
#
# OpenVINO stays out of it: it is a wheel of its own, pinned, and the core looks for it in $ORIGIN/../openvino/libs.
# auditwheel leaves that alone. It writes into the name of the wheel which glibc this machine has made it need.
set -euo pipefail
root="$(cd "$(dirname "$0")/../.." && pwd)"
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python -m pip wheel -q --no-deps --config-settings build-dir="$place/build" -w "$place" "$root"
auditwheel repair --exclude 'libopenvino*' -w "${1:?the folder for the wheel}" "$place"/zpipe-*.whl
