"""One real server: free ports, a config, a process, a health check, a way to read spans back."""

from __future__ import annotations

import abc
import contextlib
import secrets
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import ClassVar, TypeVar

from hiq_servers.marker import send_marker
from hiq_servers.programs import plain_environment
from hiq_servers.spans import Span
from hiq_servers.waiting import attempts_within
from servers.build import server_binary

DOCKER = Path(__file__).parents[2] / "docker"
STOP_SECONDS = 10.0
READ_BACK_SECONDS = 20.0
REQUEST_SECONDS = 10.0
START_ATTEMPTS = 3
JAEGER_PORTS = ("jaeger_grpc", "jaeger_http", "jaeger_compact", "jaeger_binary")
"""Of the receiver for Jaeger's own formats; the last two are UDP."""


class ServerError(Exception):
    """A server did not start or did not show what was waited for; the text holds its log's end."""


Self = TypeVar("Self", bound="Server")


class Server(abc.ABC):
    """A tracing server on loopback, for the length of a `with` block.

    A new server is a recipe folder under `servers/` and a subclass that says which ports it needs,
    what its config file reads, where its health is asked and how its spans are read.
    """

    name: ClassVar[str]
    """Of the recipe folder, and of the program it builds."""
    port_names: ClassVar[tuple[str, ...]]
    """The listeners that get a free port each."""
    ready_seconds: ClassVar[float] = 30.0
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

    @abc.abstractmethod
    def spans_of_service(self, service: str) -> list[Span]:
        """Reads every span that the server holds now for this `service.name`."""

    @abc.abstractmethod
    def spans_of_trace(self, trace_id: str) -> list[Span]:
        """Reads every span that the server holds now for this trace."""

    @property
    def otlp_endpoint(self) -> str:
        """The base URL for `OTEL_EXPORTER_OTLP_ENDPOINT` with an OTLP HTTP protocol."""
        return self.url("otlp_http")

    def otlp_endpoint_for(self, protocol: str) -> str:
        """The base URL for `OTEL_EXPORTER_OTLP_ENDPOINT` with this protocol."""
        return self.url("otlp_grpc" if protocol == "grpc" else "otlp_http")

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

    def settled_spans_of_service(self, service: str) -> list[Span]:
        """Reads all spans of a service, none under way, once the sender has had its last answer.

        What was accepted is not visible at once. A marker span sent now is accepted after them all,
        so when it is seen, they are.
        """
        self.settle()
        return self.spans_of_service(service)

    def wait_for_trace(self, trace_id: str, at_least: int) -> list[Span]:
        """Polls until a trace has `at_least` so many spans, for senders that are still at work."""
        seen: list[Span] = []
        for _ in attempts_within(READ_BACK_SECONDS):
            self._require_alive()
            seen = self.spans_of_trace(trace_id)
            if len(seen) >= at_least:
                return seen
        shown = "\n".join(f"  {span}" for span in seen[:20]) or "  none"
        raise ServerError(
            f"{self.name}: {len(seen)} of {at_least} spans of trace {trace_id} after "
            f"{READ_BACK_SECONDS:g} s, first seen:\n{shown}\nserver log:\n{self.log_tail()}"
        )

    def settle(self) -> None:
        """Returns when everything that the server has accepted until now can be read."""
        self.wait_for_trace(send_marker(self.otlp_endpoint), at_least=1)

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
    # An empty ProxyHandler: a proxy named in the environment has no business on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=REQUEST_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None
