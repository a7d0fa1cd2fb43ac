#!/usr/bin/env bash
# agents.sh: installs the programs of vendors that the tests drive, and JupyterHub's proxy, at pinned versions, into .agents/ (nothing global).
# Idempotent. Without npm or its registry it says so and fails; tests of what is missing are then skipped by name.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV="$(cd "${VENV:-.venv}" && pwd)"
PYTHON="$VENV/bin/python"
. scripts/node.sh
find_node

mkdir -p .agents
exec 9>.agents/.installing.lock
flock 9
want="$(node --version) $(cat scripts/agents/package.json scripts/agents/package-lock.json | sha256sum)"
[ "$(cat .agents/.installed 2>/dev/null || true)" = "$want" ] && exit 0
say "installing codex, gemini, opencode and JupyterHub's proxy for the tests, in .agents/"
cp scripts/agents/package.json scripts/agents/package-lock.json .agents/
if ! said="$(cd .agents && npm_ install --no-audit --no-fund --loglevel=error 2>&1)"; then
  say "they could not be installed; tests of them are skipped. npm says:"
  printf '%s\n' "$said" | tail -n 5
  exit 1
fi
printf '%s' "$want" >.agents/.installed
