#!/usr/bin/env bash
# Makes the virtual environment $VENV with agentlab (editable) and all its extras, at the pinned versions.
# Idempotent; touches nothing outside $VENV, except that a Debian without python3-venv or bubblewrap gets them if we are root.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"
VENV="${VENV:-.venv}"

say() { printf 'agentlab: %s\n' "$*"; }

good() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
for candidate in "$PYTHON" python3.13 python3.12 python3.11; do
  if command -v "$candidate" >/dev/null && good "$candidate"; then found="$candidate"; break; fi
done
if [ -z "${found:-}" ]; then
  say "Python 3.11 or newer is needed; $PYTHON is $("$PYTHON" --version 2>&1 || echo missing). Set PYTHON=/path/to/python3."
  exit 1
fi

make_venv() { "$found" -m venv "$VENV" >/dev/null 2>&1; }
if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
  say "making $VENV with $("$found" --version)"
  rm -rf "$VENV"
  if ! make_venv; then
    sudo=""; [ "$(id -u)" = 0 ] || sudo="sudo -n"
    say "this Python has no venv module; installing python3-venv"
    if ! { $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends python3-venv; } >/dev/null 2>&1 \
        || ! make_venv; then
      say "python3-venv is missing and could not be installed. As root: apt-get install python3-venv"
      exit 1
    fi
  fi
fi

say "installing (a minute or two the first time)"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade-strategy only-if-needed \
  -c constraints.txt -e '.[dev,bench]'

if ! command -v bwrap >/dev/null; then
  sudo=""; [ "$(id -u)" = 0 ] || sudo="sudo -n"
  say "installing bubblewrap, the sandbox of commands"
  if ! { $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends bubblewrap; } >/dev/null 2>&1; then
    say "bubblewrap is missing and could not be installed; its tests are skipped. As root: apt-get install bubblewrap"
    [ "${CI:-}" != true ] || exit 1
  fi
fi

[ -z "$(VENV="$VENV" bash scripts/labextension.sh needs)" ] || say "JupyterLab's sidebar and the live view of runs could not be built (they \
take npm's registry, once); all else works. To see why and try again: make labextension"
