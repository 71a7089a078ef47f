#!/usr/bin/env bash
# The core's and the plugins' tests with the address and undefined-behaviour sanitizers, in an environment of their own.
#
#   tests/sanitize/run.sh
set -euo pipefail
root="$(cd "$(dirname "$0")/../.." && pwd)"
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "$root[test]" \
  --config-settings cmake.define.ZPIPE_SANITIZE=ON --config-settings build-dir="$place/build"
gcc -shared -fPIC -o "$place/dlopen.so" "$root/tests/sanitize/dlopen.c" -ldl
of() { gcc -print-file-name="$1"; }
# Without the search for leaks: Python itself leaks at its end, and every test would be said to.
export ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0 UBSAN_OPTIONS=print_stacktrace=1
LD_PRELOAD="$place/dlopen.so $(of libasan.so) $(of libubsan.so) $(of libstdc++.so.6)" \
  "$place/venv/bin/python" -P -m pytest -q -p no:cacheprovider -c "$root/pyproject.toml" --rootdir "$root" --timeout 900 \
  "$root"/tests/unit/test_core_*.py "$root/tests/plugins" -k "not in_a_pipeline" "$@"
