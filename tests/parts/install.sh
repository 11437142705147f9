#!/usr/bin/env bash
# Install the Debian packages that `make` needs, or say plainly what to install by hand.
set -euo pipefail

packages=("$@")
policy=/usr/sbin/policy-rc.d

by_hand() {
    echo "Corral's tests need ${packages[*]}. $1 Install by hand, then run make again." >&2
    exit 1
}

command -v apt-get >/dev/null || by_hand "This machine has no apt-get."
if [ "$(id -u)" -eq 0 ]; then
    as_root=()
elif sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
else
    by_hand "Installing needs root, and sudo asks for a password."
fi

# Debian starts a server when it installs one. The tests start their own, so none is wanted on 6379: deny the start
# for the time of this installation, unless the machine has a policy of its own.
if [ ! -e "$policy" ]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi

echo "installing ${packages[*]}"
install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends install "${packages[@]}")
"${install[@]}" >/dev/null 2>&1 || {
    # A fresh image has no package lists, an old one stale ones.
    "${as_root[@]}" apt-get -qq update
    "${install[@]}" >/dev/null || by_hand "apt-get could not install."
}

# The service just installed would start at the next boot.
if [[ " ${packages[*]} " == *" redis-server "* ]] && command -v systemctl >/dev/null; then
    "${as_root[@]}" systemctl disable --quiet redis-server 2>/dev/null || true
fi
