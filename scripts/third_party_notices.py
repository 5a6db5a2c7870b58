"""Writes THIRD-PARTY-NOTICES.md: what a wheel holds of others, and under which licences.

python scripts/third_party_notices.py            writes it
python scripts/third_party_notices.py --check    fails when it is not what would be written

The crates come from `cargo metadata`, their texts from the crates themselves.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from house.places import REPOSITORY, cargo_environment

NOTICES = REPOSITORY / "THIRD-PARTY-NOTICES.md"
DISTRIBUTED = "hiq-pybind"
PLATFORMS = (
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
)
# Where a crate offers a choice, the first of these that it offers is taken.
PREFERRED = ("MIT", "Apache-2.0", "Zlib", "ISC", "BSD-3-Clause", "Unicode-3.0")
TEXT_NAMES = re.compile(r"^(licen[cs]e|copying|notice|copyright)", re.IGNORECASE)
# Libraries in C that crates compile, which no manifest names: by the crate that is linked, the
# crate that has the sources, the library, its licence, and the file with the text.
COMPILED = {
    "libz-sys": ("libz-sys", "zlib", "Zlib", "src/zlib/LICENSE"),
    "openssl-sys": ("openssl-src", "OpenSSL", "Apache-2.0", "openssl/LICENSE.txt"),
    "rdkafka-sys": ("rdkafka-sys", "librdkafka", "BSD-2-Clause", "librdkafka/LICENSES.txt"),
    "zstd-sys": ("zstd-sys", "Zstandard", "BSD-3-Clause", "zstd/LICENSE"),
}
HEADING = """\
# What wheels hold of others

hiq itself is MIT OR Apache-2.0. Its wheels hold compiled code of the packages below, under the
licences named; where a package offers a choice, the third column says which was chosen. Libraries
in C are named with the package that brings them. The texts follow, each once. Made by
`scripts/third_party_notices.py` from the packages themselves.

| package | version | licence | offered as |
|---|---|---|---|
"""


def main() -> int:
    wanted = notices()
    if "--check" not in sys.argv:
        NOTICES.write_text(wanted, encoding="utf-8")
    elif not NOTICES.exists() or NOTICES.read_text(encoding="utf-8") != wanted:
        print(f"{NOTICES.name} is out of date: run python scripts/third_party_notices.py")
        return 1
    return 0


def notices() -> str:
    metadata = cargo_metadata()
    packages = sorted(distributed_packages(metadata), key=lambda package: package["name"])
    packages += compiled_libraries(metadata, {package["name"] for package in packages})
    table = (
        f"| [{package['name']}]({source_of(package)}) | {package['version']} "
        f"| {chosen_licence(package)} | {package['license']} |\n"
        for package in packages
    )
    return HEADING + "".join(table) + "".join(texts(packages))


def compiled_libraries(metadata: dict[str, Any], distributed: set[str]) -> list[dict[str, Any]]:
    """The libraries in C that come with these packages, in the form that cargo gives packages."""
    by_name = {package["name"]: package for package in metadata["packages"]}
    libraries = []
    for crate, (source, library, licence, text) in COMPILED.items():
        if crate in distributed:
            package = by_name[source]
            version = package["version"].partition("+")[2].removeprefix("zstd.")
            libraries.append(
                {
                    "name": f"{library} ({crate})",
                    "version": version or f"of {package['version']}",
                    "license": licence,
                    "repository": package["repository"],
                    "text": str(Path(package["manifest_path"]).parent / text),
                }
            )
    return libraries


def distributed_packages(metadata: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The packages whose code is in the module: no build tools, no macros, none of ours."""
    packages = {package["id"]: package for package in metadata["packages"]}
    needs = {node["id"]: node["deps"] for node in metadata["resolve"]["nodes"]}
    waiting = [key for key, package in packages.items() if package["name"] == DISTRIBUTED]
    seen = set(waiting)
    while waiting:
        key = waiting.pop()
        if packages[key]["source"] is not None:
            yield packages[key]
        for need in needs[key]:
            is_linked = any(kind["kind"] is None for kind in need["dep_kinds"])
            if is_linked and need["pkg"] not in seen and not is_macro(packages[need["pkg"]]):
                seen.add(need["pkg"])
                waiting.append(need["pkg"])


def cargo_metadata() -> dict[str, Any]:
    filters = [word for platform in PLATFORMS for word in ("--filter-platform", platform)]
    finished = subprocess.run(
        ["cargo", "metadata", "--format-version=1", *filters],
        cwd=REPOSITORY,
        env=cargo_environment(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=600,
    )
    return dict(json.loads(finished.stdout))


def is_macro(package: dict[str, Any]) -> bool:
    return any("proc-macro" in target["kind"] for target in package["targets"])


def source_of(package: dict[str, Any]) -> str:
    return package["repository"] or f"https://crates.io/crates/{package['name']}"


def chosen_licence(package: dict[str, Any]) -> str:
    """`MIT` of `MIT OR Apache-2.0`; what is no plain choice stays as it is."""
    offered = re.split(r"\s+OR\s+|/", package["license"])
    if len(offered) == 1 or "AND" in package["license"]:
        return str(package["license"])
    return next((licence for licence in PREFERRED if licence in offered), str(package["license"]))


def texts(packages: list[dict[str, Any]]) -> Iterator[str]:
    """Each text once, after the packages that bring it."""
    owners: dict[str, list[str]] = {}
    for package in packages:
        for text in licence_texts(package):
            owners.setdefault(text, []).append(package["name"])
    for text, names in owners.items():
        yield f"\n## {', '.join(dict.fromkeys(names))}\n\n```text\n{text}\n```\n"


def licence_texts(package: dict[str, Any]) -> list[str]:
    if "text" in package:
        return [text_of(Path(package["text"]))]
    folder = Path(package["manifest_path"]).parent
    files = [path for path in sorted(folder.iterdir()) if TEXT_NAMES.match(path.name)]
    files = [path for path in files if path.is_file() and path.suffix not in (".rs", ".spdx")]
    chosen = chosen_licence(package)
    if chosen != package["license"]:
        # The texts of the licences that were not chosen are left out, where names tell them apart.
        word = chosen.partition("-")[0].lower()
        files = [path for path in files if word in path.name.lower()] or files
    return [text_of(path) for path in files] or [f"{package['name']}: {package['license']}"]


def text_of(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").replace("```", "'''").splitlines()
    return "\n".join(line.rstrip() for line in lines).strip("\n")


if __name__ == "__main__":
    sys.exit(main())
