#!/usr/bin/env bash
# The peers of the benchmarks, from Debian's packages, where we may install them. A missing one is named by the benchmarks.
set -uo pipefail
missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
command -v etcd >/dev/null || missing+=(etcd-server)
[ ${#missing[@]} -eq 0 ] && exit 0
sudo=""; [ "$(id -u)" = 0 ] || sudo="sudo -n"
echo "agentlab: installing ${missing[*]} for the benchmarks"
# The benchmarks start their own servers on loopback: the packages' services must not.
policy=/usr/sbin/policy-rc.d; made=""
if [ ! -e "$policy" ]; then printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null 2>&1 && $sudo chmod +x "$policy" && made=1; fi
{ $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1 \
  || echo "agentlab: could not install ${missing[*]}; those comparisons are left out"
[ -n "$made" ] && $sudo rm -f "$policy"
exit 0
