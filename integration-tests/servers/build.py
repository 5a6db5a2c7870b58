"""Builds the real servers of the integration tests, once, into a cache outside the tree.

    python integration-tests/servers/build.py            builds every recipe
    python integration-tests/servers/build.py jaeger     builds one

A recipe is a folder beside this file: `recipe.json` says how, the other files say what. The cache
key is the hash of the whole folder, so a changed recipe is a new build and an old one stays usable.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

RECIPES = Path(__file__).parent
BUILD_TIMEOUT_SECONDS = 1800


class BuildError(Exception):
    """A server cannot be built here; the text says what to do about it."""


def server_binary(name: str) -> Path:
    """Returns the server's program, building it first when the cache has none for this recipe."""
    recipe = RECIPES / name
    binary = cached_build(recipe) / name
    if binary.exists():
        return binary
    with _lock(binary.parent):
        if not binary.exists():
            _build(recipe, binary)
    return binary


def recipe_names() -> list[str]:
    return sorted(folder.parent.name for folder in RECIPES.glob("*/recipe.json"))


def cached_build(recipe: Path) -> Path:
    return cache_folder() / "servers" / f"{recipe.name}-{_hash_of(recipe)}"


def cache_folder() -> Path:
    if given := os.environ.get("HIQ_CACHE"):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "hiq"


def _hash_of(recipe: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in recipe.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(recipe)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _lock(build: Path) -> Iterator[None]:
    """Two test runs at once must not build the same server twice."""
    build.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{build}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(recipe: Path, binary: Path) -> None:
    how = json.loads((recipe / "recipe.json").read_text())
    build = TOOLCHAINS.get(how["toolchain"])
    if build is None:
        raise BuildError(
            f"{recipe / 'recipe.json'}: unknown toolchain {how['toolchain']!r}, "
            f"known: {', '.join(TOOLCHAINS)}"
        )
    print(f"servers: building {recipe.name} (minutes the first time, cached after) ...", flush=True)
    started = time.monotonic()
    # Built beside its final place and renamed: an interrupted build never looks finished.
    with tempfile.TemporaryDirectory(dir=binary.parent.parent, prefix=f"{recipe.name}-") as scratch:
        finished = Path(scratch) / "finished"
        finished.mkdir()
        build(recipe, how, finished / recipe.name)
        shutil.rmtree(binary.parent, ignore_errors=True)
        finished.rename(binary.parent)
    seconds = time.monotonic() - started
    size_mb = binary.stat().st_size / 1e6
    print(f"servers: {recipe.name} built in {seconds:.0f} s, {size_mb:.0f} MB", flush=True)


def _build_with_go(recipe: Path, how: dict[str, str], output: Path) -> None:
    """The recipe is a module that imports the program, so its `go.mod` and `go.sum` pin all."""
    _require_go_for(recipe)
    _go_build(recipe, how, output)


def _build_module_with_go(recipe: Path, how: dict[str, str], output: Path) -> None:
    """A module's own tree is built, as its authors do; the files of the recipe's folder `changed`
    stand in the place of the tree's own."""
    _require_go_for(recipe)
    tree = output.parent.parent / "tree"
    shutil.copytree(_downloaded_module(how), tree, copy_function=shutil.copyfile)
    # What `go` has downloaded is read-only.
    for folder in (tree, *(path for path in tree.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    shutil.copytree(recipe / "changed", tree, dirs_exist_ok=True)
    _go_build(tree, how, output)


def _downloaded_module(how: dict[str, str]) -> Path:
    module = f"{how['module']}@{how['version']}"
    with tempfile.TemporaryDirectory() as nowhere:
        finished = _run(["go", "mod", "download", "-json", module], Path(nowhere))
    if finished.returncode != 0:
        raise BuildError(f"`go mod download {module}` failed:\n{finished.stdout}{finished.stderr}")
    downloaded = json.loads(finished.stdout)
    if downloaded["Sum"] != how["sum"]:
        raise BuildError(f"{module} has the hash {downloaded['Sum']}, not {how['sum']}")
    return Path(downloaded["Dir"])


def _go_build(folder: Path, how: dict[str, str], output: Path) -> None:
    command = ["go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w"]
    tags = [f"-tags={how['tags']}"] if "tags" in how else []
    _run_or_explain([*command, *tags, "-o", str(output), how["package"]], folder)


def _require_go_for(recipe: Path) -> None:
    if shutil.which("go") is None:
        raise BuildError(
            f"building {recipe.name} needs the Go toolchain and `go` is not on PATH: "
            f"install Go {_wanted_go(recipe)} or newer"
        )
    # Asked inside the recipe: where `go` may fetch a newer toolchain by itself, it already has.
    found = _run(["go", "env", "GOVERSION"], recipe).stdout.strip()
    if _version_numbers(found) < _version_numbers(_wanted_go(recipe)):
        raise BuildError(
            f"building {recipe.name} needs Go {_wanted_go(recipe)} or newer, "
            f"found {found or 'one that does not tell its version'}: install a newer Go"
        )


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _wanted_go(recipe: Path) -> str:
    if not (recipe / "go.mod").exists():
        return "1.21"  # Newer ones fetch what a module asks for.
    lines = (recipe / "go.mod").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("go "))


def _run_or_explain(command: list[str], folder: Path) -> None:
    finished = _run(command, folder)
    if finished.returncode != 0:
        tail = "\n".join((finished.stdout + finished.stderr).splitlines()[-40:])
        raise BuildError(f"`{' '.join(command)}` in {folder} failed:\n{tail}")


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    # A go.work above the tree would change what is built.
    environment = {**os.environ, "GOWORK": "off"}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_TIMEOUT_SECONDS,
    )


def _require_maven_for(recipe: Path) -> None:
    for program in ("mvn", "java"):
        if shutil.which(program) is None:
            raise BuildError(
                f"{recipe.name} needs a Java runtime and Maven and `{program}` is not on PATH: "
                "apt install default-jre-headless maven (Debian, Ubuntu)"
            )


def _fetch_with_maven(recipe: Path, how: dict[str, str], output: Path) -> None:
    _require_maven_for(recipe)
    folder = output.parent
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
    options = [f"-Dartifact={how['artifact']}", f"-DoutputDirectory={folder}"]
    _run_or_explain(["mvn", "--batch-mode", "--quiet", goal, *options], folder)
    (fetched,) = folder.glob("*.jar")
    digest = hashlib.sha256(fetched.read_bytes()).hexdigest()
    if digest != how["sha256"]:
        raise BuildError(f"{how['artifact']} has the hash {digest}, not {how['sha256']}")
    fetched.rename(output)


def _fetch_project_with_maven(recipe: Path, how: dict[str, str], output: Path) -> None:
    """All that the recipe's `pom.xml` needs to run, as a folder of jars, each of a known hash."""
    _require_maven_for(recipe)
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    options = [f"-DoutputDirectory={output}", "-DincludeScope=runtime"]
    _run_or_explain(["mvn", "--batch-mode", "--quiet", goal, *options], recipe)
    lines = (recipe / how["sha256"]).read_text().splitlines()
    wanted = {name: digest for digest, name in map(str.split, lines)}
    for jar in output.iterdir():
        digest = hashlib.sha256(jar.read_bytes()).hexdigest()
        if wanted.pop(jar.name, None) != digest:
            raise BuildError(
                f"{jar.name} has the hash {digest}, which {how['sha256']} does not name"
            )
    if wanted:
        raise BuildError(f"maven did not fetch {', '.join(sorted(wanted))}")


TOOLCHAINS: dict[str, Callable[[Path, dict[str, str], Path], None]] = {
    "go": _build_with_go,
    "go-module": _build_module_with_go,
    "maven": _fetch_with_maven,
    "maven-project": _fetch_project_with_maven,
}


def main(names: list[str]) -> int:
    unknown = set(names) - set(recipe_names())
    if unknown:
        print(f"no recipe for {', '.join(sorted(unknown))}; there are: {', '.join(recipe_names())}")
        return 2
    try:
        for name in names or recipe_names():
            print(f"servers: {name} is {server_binary(name)}", flush=True)
    except BuildError as error:
        print(f"servers: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
