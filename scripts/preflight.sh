#!/bin/sh
# Says in one line each what is missing, how to get it, and ends with 1 if anything is.
#
#   preflight.sh rust|lint|go|java ...     what is asked for besides make, Python and a C compiler
#
# PYTHON names the interpreter (default python3).
set -u

PYTHON=${PYTHON:-python3}
OLDEST_PYTHON=3.10
OLDEST_RUST=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
missing=0

main() {
    require_python
    require_c_compiler
    for topic; do
        case $topic in
            rust) require_rust ;;
            lint) require_component fmt rustfmt; require_component clippy clippy ;;
            go) require go "Go (the version in integration-tests/servers/*/go.mod): https://go.dev/dl/" ;;
            java)
                require java "a Java runtime, 17 or newer: apt install default-jre-headless (Debian, Ubuntu)"
                require mvn "Maven, which fetches the Zipkin server: apt install maven (Debian, Ubuntu)"
                ;;
            *) say "preflight.sh: unknown topic '$topic'" ;;
        esac
    done
    exit $missing
}

require_python() {
    require "$PYTHON" "Python $OLDEST_PYTHON or newer: https://www.python.org/downloads/" || return 0
    "$PYTHON" -c "import sys; sys.exit(sys.version_info < (${OLDEST_PYTHON%.*}, ${OLDEST_PYTHON#*.}))" ||
        say "$PYTHON is $("$PYTHON" --version 2>&1), $OLDEST_PYTHON or newer is needed: make PYTHON=python3.12 ..."
    "$PYTHON" -c "import venv, ensurepip" 2>/dev/null ||
        say "$PYTHON has no venv module: apt install python3-venv (Debian, Ubuntu), or take Python from python.org"
}

require_c_compiler() {
    command -v "${CC:-cc}" >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 ||
        say "no C compiler: apt install build-essential (Debian, Ubuntu), xcode-select --install (macOS)"
}

require_rust() {
    require cargo "Rust $OLDEST_RUST or newer: https://rustup.rs" || return 0
    found=$(rustc --version 2>/dev/null | cut -d' ' -f2)
    [ "$(printf '%s\n' "$OLDEST_RUST" "$found" | sort -V | head -n 1)" = "$OLDEST_RUST" ] ||
        say "Rust ${found:-of no version} is too old, $OLDEST_RUST or newer is needed: rustup update stable"
}

# The program may be there without its component, so it is asked for its version.
require_component() {
    cargo "$1" --version >/dev/null 2>&1 || say "cargo $1 does not run: rustup component add $2"
}

# require PROGRAM HOW
require() {
    command -v "$1" >/dev/null 2>&1 && return 0
    say "$1 is not on PATH. To get it: $2"
    return 1
}

say() {
    echo "missing: $1" >&2
    missing=1
}

main "$@"
