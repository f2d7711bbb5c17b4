#!/bin/sh
# Installs what was built in the folder BUILD under DESTDIR and PREFIX, or with --remove takes it away again.
# Usage: install.sh BUILD | --remove
set -eu
cd "$(dirname "$0")/.."
prefix=${PREFIX:-/usr/local}
root=${DESTDIR:-}$prefix
libdir=${LIBDIR:-$prefix/lib}

# The files that are not in folders of casemix's own.
bin=$root/bin/casemix
header=$root/include/casemix.h
library=${DESTDIR:-}$libdir/libcasemix.a
pc=${DESTDIR:-}$libdir/pkgconfig/casemix.pc
man=$root/share/man/man1
bash=$root/share/bash-completion/completions/casemix
zsh=$root/share/zsh/vendor-completions/_casemix
fish=$root/share/fish/vendor_completions.d/casemix.fish
unit=$root/lib/systemd/system/casemix.service
sysusers=$root/lib/sysusers.d/casemix.conf
tmpfiles=$root/lib/tmpfiles.d/casemix.conf

if [ "$1" = --remove ]; then
    rm -f "$bin" "$header" "$library" "$pc" "$bash" "$zsh" "$fish" "$unit" "$sysusers" "$tmpfiles" \
        "$man/casemix.1.gz" "$man"/casemix-*.1.gz
    rm -rf "$root/share/casemix" "$root/share/doc/casemix"
    exit 0
fi
build=$1

put() { # MODE FILE TARGET
    install -D -m "$1" "$2" "$3"
}

fill() { # FILE TARGET: @NAME@ replaced
    mkdir -p "$(dirname "$2")"
    sed -e "s|@PREFIX@|$prefix|g" -e "s|@LIBDIR@|$libdir|g" -e "s|@PACKAGES@|${PACKAGES:-}|g" \
        -e "s|@VERSION@|$(sed -n 's/^#define CASEMIX_VERSION "\(.*\)"/\1/p' src/cli/commands.h)|g" "$1" >"$2"
    chmod 644 "$2"
}

# A folder of the repository, whatever its files' modes are here.
put_folder() { # FOLDER TARGET
    mkdir -p "$2"
    (cd "$1" && find . -type f ! -name '.*' -print0 | tar -c --null -T -) | tar -x -C "$2" --no-same-owner
    find "$2" -type d -exec chmod 755 {} +
    find "$2" -type f -exec chmod 644 {} +
}

put 755 "$build/casemix" "$bin"
put 644 include/casemix.h "$header"
put 644 "$build/libcasemix.a" "$library"
fill packaging/casemix.pc "$pc"
put_folder models "$root/share/casemix/models"
put_folder recipes "$root/share/casemix/recipes"
put_folder data/synth "$root/share/casemix/data/synth"
put_folder examples "$root/share/doc/casemix/examples"
for file in README.md docs/*.md; do put 644 "$file" "$root/share/doc/casemix/$(basename "$file")"; done
put 644 packaging/casemix.default "$root/share/doc/casemix/examples/casemix.default"
mkdir -p "$man"
for page in "$build"/manual/man1/*.1; do
    gzip -9nc "$page" >"$man/$(basename "$page").gz"
    chmod 644 "$man/$(basename "$page").gz"
done
put 644 "$build/manual/completion/casemix" "$bash"
put 644 "$build/manual/completion/_casemix" "$zsh"
put 644 "$build/manual/completion/casemix.fish" "$fish"
fill packaging/casemix.service "$unit"
put 644 packaging/casemix.sysusers "$sysusers"
put 644 packaging/casemix.tmpfiles "$tmpfiles"
