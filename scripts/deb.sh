#!/bin/sh
# Two Debian packages from what was built in the folder BUILD: casemix (program, models, service) and libcasemix-dev.
# Depends is what dpkg-shlibdeps finds in the program. The same source, compiler and libraries give the same bytes.
# Usage: deb.sh BUILD OUT
set -eu
cd "$(dirname "$0")/.."
build=$1
out=$2
version=$(sed -n 's/^#define CASEMIX_VERSION "\(.*\)"/\1/p' src/cli/commands.h)
architecture=$(dpkg --print-architecture)
multiarch=$(dpkg-architecture -q DEB_HOST_MULTIARCH)
maintainer=${MAINTAINER:-"casemix maintainers <casemix@localhost>"}
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-0}" LC_ALL=C
umask 022
rm -rf "$out/casemix" "$out/dev" "$out/debian"
rm -f "$out"/*.deb
mkdir -p "$out/casemix/DEBIAN" "$out/dev/DEBIAN" "$out/debian"

DESTDIR=$out/casemix PREFIX=/usr LIBDIR=/usr/lib/$multiarch sh scripts/install.sh "$build"
mkdir -p "$out/dev/usr/lib"
mv "$out/casemix/usr/include" "$out/dev/usr/"
mv "$out/casemix/usr/lib/$multiarch" "$out/dev/usr/lib/"
# Debian 12 has units of packages in /lib.
mkdir -p "$out/casemix/lib"
mv "$out/casemix/usr/lib/systemd" "$out/casemix/lib/"
install -D -m 644 packaging/casemix.default "$out/casemix/etc/default/casemix"
rm "$out/casemix/usr/share/doc/casemix/examples/casemix.default"
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$out/casemix/usr/bin/casemix"
strip --strip-debug --enable-deterministic-archives "$out/dev/usr/lib/$multiarch/libcasemix.a"

date=$(date -u -R -d "@$SOURCE_DATE_EPOCH")
for package in casemix libcasemix-dev; do
    tree=$out/casemix
    [ $package = casemix ] || tree=$out/dev
    doc=$tree/usr/share/doc/$package
    mkdir -p "$doc"
    printf 'casemix (%s) unstable; urgency=medium\n\n  * Release %s.\n\n -- %s  %s\n' "$version" "$version" "$maintainer" "$date" |
        gzip -9nc >"$doc/changelog.gz"
    cp packaging/copyright "$doc/copyright"
done

# dpkg-shlibdeps wants a source package's control file.
printf 'Source: casemix\n\nPackage: casemix\nArchitecture: any\n' >"$out/debian/control"
depends=$(cd "$out" && dpkg-shlibdeps -O --ignore-missing-info casemix/usr/bin/casemix 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
[ -n "$depends" ] || { echo "deb.sh: dpkg-shlibdeps found no libraries" >&2; exit 1; }

control() { # TREE PACKAGE SECTION DEPENDS RECOMMENDS SUMMARY, further lines from standard input
    {
        printf 'Package: %s\n' "$2"
        [ "$2" = casemix ] || printf 'Source: casemix\n'
        printf 'Version: %s\nArchitecture: %s\nMaintainer: %s\n' "$version" "$architecture" "$maintainer"
        printf 'Installed-Size: %s\nDepends: %s\n' "$(find "$1" -type f ! -path '*/DEBIAN/*' -printf '%s\n' |
            awk '{ n += int(($1 + 1023) / 1024) } END { print n + 0 }')" "$4"
        [ -z "$5" ] || printf 'Recommends: %s\n' "$5"
        printf 'Section: %s\nPriority: optional\nDescription: %s\n' "$3" "$6"
        sed 's/^/ /'
    } >"$1/DEBIAN/control"
    (cd "$1" && find . -type f ! -path './DEBIAN/*' -printf '%P\n' | sort | tr '\n' '\0' | xargs -0 md5sum) >"$1/DEBIAN/md5sums"
}

echo /etc/default/casemix >"$out/casemix/DEBIAN/conffiles"
for script in postinst prerm postrm; do install -m 755 packaging/$script "$out/casemix/DEBIAN/$script"; done
control "$out/casemix" casemix science "$depends" "systemd | systemd-standalone-sysusers | opensysusers" \
    "MS-DRGs of hospital discharge summaries" <<'TEXT'
casemix reads a discharge summary and gives its MS-DRG, the code by which a
US inpatient stay is paid: a ranked list with probabilities, relative weights
and lengths of stay. It trains such models, and serves a page and an API to
coders. No note leaves the machine.
.
The model that comes with it has learned from synthetic notes only and is a
demonstration.
TEXT
control "$out/dev" libcasemix-dev libdevel \
    "libdnnl-dev, libcjson-dev, libcyaml-dev, libcsv-dev, zlib1g-dev, libpcre2-dev, libutf8proc-dev, libmicrohttpd-dev, libsqlite3-dev" \
    "" "MS-DRGs of hospital discharge summaries (library)" <<'TEXT'
The library of casemix for C programs: open a model, code notes, close it.
.
This package holds the header and the static library.
TEXT
for tree in casemix dev; do
    find "$out/$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group "-Z${COMPRESSION:-xz}" --build "$out/$tree" "$out" >/dev/null
done
ls "$out"/*.deb
