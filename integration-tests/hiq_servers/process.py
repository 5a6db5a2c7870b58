"""One real server's process: free ports, a config, a health check, an end by its pid."""

from __future__ import annotations

import abc
import contextlib
import secrets
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, TypeVar

from hiq_servers.programs import plain_environment
from hiq_servers.waiting import attempts_within
from servers.build import server_binary

DOCKER = Path(__file__).parents[2] / "docker"
STOP_SECONDS = 10.0
REQUEST_SECONDS = 10.0
START_ATTEMPTS = 3


class ServerError(Exception):
    """A server did not start or did not show what was waited for; the text holds its log's end."""


Self = TypeVar("Self", bound="ServerProcess")


class ServerProcess(abc.ABC):
    """A server on loopback, for the length of a `with` block.

    A new one is a recipe folder under `servers/` and a subclass that says which ports it needs,
    what its config file reads and where its health is asked.
    """

    name: ClassVar[str]
    """Of the recipe folder, and of the program it builds."""
    port_names: ClassVar[tuple[str, ...]]
    """The listeners that get a free port each."""
    ready_seconds: ClassVar[float] = 120.0
    """Given to it to become healthy, on a machine that is busy with the other tests."""

    def __init__(self, scratch: Path) -> None:
        self.folder = scratch / f"{self.name}-{secrets.token_hex(4)}"
        self.folder.mkdir(parents=True)
        self.ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def config(self) -> str:
        """Returns the text of the config file: by default the one that users have in `docker/`."""
        return (DOCKER / f"{self.name}.yaml").read_text()

    def environment(self) -> dict[str, str]:
        """Returns the variables by which that config file is told of `self.ports`."""
        return {f"LISTEN_{name.upper()}": self.address(name) for name in self.port_names}

    @abc.abstractmethod
    def command(self, binary: Path, config: Path) -> list[str]:
        """Returns the command line that starts the server."""

    @abc.abstractmethod
    def is_healthy(self) -> bool:
        """Asks the server's own health check once."""

    def url(self, port_name: str, path: str = "") -> str:
        return f"http://{self.address(port_name)}{path}"

    def address(self, port_name: str) -> str:
        return f"127.0.0.1:{self.ports[port_name]}"

    def __enter__(self: Self) -> Self:
        for attempt in range(START_ATTEMPTS):
            try:
                self._start()
            except ServerError as error:
                self.stop()
                # Between choosing a port and the server's bind, somebody else may have taken it.
                lost_a_port = "address already in use" in str(error)
                if not lost_a_port or attempt == START_ATTEMPTS - 1:
                    raise
            else:
                break
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the process by its pid, politely first."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)

    def log_tail(self, lines: int = 30) -> str:
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])
        return ""

    @property
    def config_file(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def log_file(self) -> Path:
        return self.folder / "server.log"

    def _start(self) -> None:
        self.ports = dict(zip(self.port_names, free_ports(len(self.port_names)), strict=True))
        self.config_file.write_text(self.config())
        self.start_again()

    def start_again(self) -> None:
        """Starts the program with the config and the ports that it had; it is healthy then."""
        binary = server_binary(self.name)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(binary, self.config_file),
                cwd=self.folder,
                env={**plain_environment(), **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        for _ in attempts_within(self.ready_seconds):
            self._require_alive()
            if self.is_healthy():
                return
        raise ServerError(
            f"{self.name} was not healthy in {self.ready_seconds:g} s:\n{self.log_tail()}"
        )

    def _require_alive(self) -> None:
        if self._process is None:
            raise ServerError(f"{self.name} is not running")
        code = self._process.poll()
        if code is not None:
            raise ServerError(f"{self.name} ended with code {code}:\n{self.log_tail()}")


def free_ports(count: int) -> list[int]:
    """Returns ports that are free now, for TCP and UDP, by letting the kernel choose them."""
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            tcp = held.enter_context(socket.socket())
            tcp.bind(("127.0.0.1", 0))
            udp = held.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                ports.append(tcp.getsockname()[1])
    return ports


def http_answer(url: str) -> tuple[int, bytes] | None:
    """GETs a loopback URL; None when nobody answers yet."""
    return _exchange(urllib.request.Request(url))


def http_post(
    url: str, body: bytes, headers: Mapping[str, str], method: str = "POST"
) -> tuple[int, bytes] | None:
    """Sends `body` to a loopback URL; None when nobody answers."""
    return _exchange(urllib.request.Request(url, body, dict(headers), method=method))


def _exchange(request: urllib.request.Request) -> tuple[int, bytes] | None:
    # An empty ProxyHandler: a proxy named in the environment has no business on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=REQUEST_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None
