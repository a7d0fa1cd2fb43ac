#!/usr/bin/env bash
# browser.sh: Debian's Chromium, for the tests and pictures of what people see in JupyterLab, where we may install it.
# Idempotent. Fails, saying so, where there is none and none can be had; those tests are then skipped by name.
set -uo pipefail
for name in chromium chromium-browser google-chrome; do command -v "$name" >/dev/null && exit 0; done
sudo=""; [ "$(id -u)" = 0 ] || sudo="sudo -n"
echo "agentlab: installing chromium for the tests of the browser"
{ $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } >/dev/null 2>&1 && exit 0
echo "agentlab: chromium could not be installed; its tests are skipped. As root: apt-get install chromium"
exit 1
