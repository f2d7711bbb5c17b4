#!/bin/sh
# Installs the Debian packages of packages.txt that are missing, when it may (root or password-less sudo);
# otherwise prints the one line to run and stops. More lists can be named as arguments.
set -eu
here=$(dirname "$0")/..
missing=
for package in $(cat "$here/packages.txt" "$@" | sed 's/#.*//'); do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "casemix: this is not a Debian system; install the equivalents of:$missing" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root=sudo
else
    echo "casemix: packages are missing. Run this once, then try again:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing:$missing" >&2
$as_root env DEBIAN_FRONTEND=noninteractive sh -c "apt-get -qq update && apt-get -qq install -y --no-install-recommends$missing" >&2
