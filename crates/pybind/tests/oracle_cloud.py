"""A server that stands in for Oracle's: it looks at what that would look at, and keeps what it was sent."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

KEYS = Path(__file__).parents[2] / "exporters" / "oci" / "tests" / "keys"
TENANCY = "ocid1.tenancy.oc1..aaaatenancy"
USER = "ocid1.user.oc1..aaaauser"
FINGERPRINT = "34:18:95:53:19:b8:e0:6d:0e:97:85:a7:86:06:d1:25"
STREAM = "ocid1.stream.oc1.eu-frankfurt-1.aaaa"


@dataclass
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def signer(self, folder: Path) -> str:
        """Who signed: the signature is verified by OpenSSL's command."""
        kind, _, rest = self.headers["authorization"].partition(" ")
        assert kind == "Signature"
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        assert (fields["algorithm"], fields["version"]) == ("rsa-sha256", "1")
        values = {**self.headers, "(request-target)": f"{self.method.lower()} {self.path}"}
        names = fields["headers"].split(" ")
        text = "\n".join(f"{name}: {values[name]}" for name in names)
        (folder / "signed").write_text(text)
        (folder / "signature").write_bytes(base64.b64decode(fields["signature"], validate=True))
        verify = ["openssl", "dgst", "-sha256", "-verify", KEYS / "public.pem", "-signature", "signature", "signed"]
        done = subprocess.run(verify, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        parsedate_to_datetime(self.headers["date"])
        if "x-content-sha256" in names:
            digest = hashlib.sha256(self.body).digest()
            assert self.headers["x-content-sha256"] == base64.b64encode(digest).decode()
        return fields["keyId"]


Answer = tuple[int, Any]


@dataclass
class Oracle:
    """What it answers is `answer(request)`: status and JSON."""

    url: str
    answer: Callable[[Received], Answer] = lambda _request: (200, {})
    requests: list[Received] = field(default_factory=list)
    server: http.server.ThreadingHTTPServer | None = None

    def close(self) -> None:
        assert self.server is not None
        self.server.shutdown()
        self.server.server_close()

    @staticmethod
    def start() -> Oracle:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Received(self.command, self.path, headers, body)
                oracle.requests.append(request)
                status, content = oracle.answer(request)
                text = json.dumps(content).encode() if not isinstance(content, bytes) else content
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_PUT = do_GET = _take

            def log_message(self, *_args: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        oracle = Oracle(f"http://127.0.0.1:{server.server_address[1]}", server=server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return oracle

    def take_messages(self, refuse: Callable[[int], bool] = lambda _at: False) -> Callable[[Received], Answer]:
        """What OCI Streaming answers; `refuse` is asked with the number of the message, over all calls."""
        seen = 0

        def answer(request: Received) -> Answer:
            nonlocal seen
            entries = []
            for _ in request.json()["messages"]:
                refused = refuse(seen)
                entry = {"partition": None, "offset": None, "timestamp": None, "error": "429", "errorMessage": "slow"}
                taken = {
                    "partition": "0",
                    "offset": seen,
                    "timestamp": "2026-11-21T10:00:00.000Z",
                    "error": None,
                    "errorMessage": None,
                }
                entries.append(entry if refused else taken)
                seen += 1
            return 200, {"failures": sum(bool(entry["error"]) for entry in entries), "entries": entries}

        return answer

    def take_metrics(
        self, refuse: Callable[[dict[str, Any]], bool] = lambda _series: False
    ) -> Callable[[Received], Answer]:
        """What OCI Monitoring answers, by the limits of its reference; `refuse` is asked for each series."""

        def answer(request: Received) -> Answer:
            series = metrics(request)
            wrong = wrong_with(series)
            if wrong is not None:
                return 400, {"code": "InvalidParameter", "message": wrong}
            failed = [{"message": "not today", "metricData": one} for one in series if refuse(one)]
            return 200, {"failedMetricsCount": len(failed), "failedMetrics": failed}

        return answer


def metrics(request: Received) -> list[dict[str, Any]]:
    """The series of a call."""
    assert request.path == "/20180401/metrics"
    body = request.json()
    assert set(body) == {"metricData", "batchAtomicity"}
    assert body["batchAtomicity"] == "NON_ATOMIC"
    found: list[dict[str, Any]] = body["metricData"]
    return found


def wrong_with(series: list[dict[str, Any]]) -> str | None:
    """What the service would refuse a call for: PostMetricDataDetails and MetricDataDetails of its reference."""
    if not 1 <= len(series) <= 50:
        return f"{len(series)} metric streams"
    for one in series:
        dimensions = one["dimensions"]
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", one["namespace"]) or re.match("(oci|oracle)_", one["namespace"]):
            return f"namespace {one['namespace']}"
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9._$-]*", one["name"]):
            return f"name {one['name']}"
        if not 1 <= len(dimensions) <= 20:
            return f"{len(dimensions)} dimensions"
        for key, value in dimensions.items():
            if not re.fullmatch(r"[!-~]{1,256}", key) or not 1 <= len(value) <= 512:
                return f"dimension {key}={value}"
        for point in one["datapoints"]:
            if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", point["timestamp"]):
                return f"timestamp {point['timestamp']}"
            if not isinstance(point["value"], int | float):
                return f"value {point['value']}"
    return None


def messages(request: Received) -> list[tuple[str | None, bytes]]:
    """Keys and values, out of base64."""

    def decoded(text: str) -> bytes:
        return base64.b64decode(text, validate=True)

    assert request.path == f"/20180418/streams/{STREAM}/messages"
    return [
        (decoded(message["key"]).decode() if "key" in message else None, decoded(message["value"]))
        for message in request.json()["messages"]
    ]


def home(folder: Path, more: str = "") -> dict[str, str]:
    """A home folder with a profile and its key; the environment that names it."""
    (folder / ".oci").mkdir(parents=True)
    (folder / ".oci" / "key.pem").write_text((KEYS / "traditional_aes256.pem").read_text())
    (folder / ".oci" / "config").write_text(
        f"[DEFAULT]\nuser={USER}\ntenancy={TENANCY}\nfingerprint={FINGERPRINT}\nkey_file=~/.oci/key.pem\n"
        f"pass_phrase=open-sesame\nregion=eu-frankfurt-1\n{more}"
    )
    return {"HOME": str(folder), "OCI_STM_OCID": STREAM}
