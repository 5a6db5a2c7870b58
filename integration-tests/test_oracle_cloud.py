"""Oracle's SDK and hiq ask the same of one server: what they sign and send is the same.

The server is ours, as nobody else's can be had: it verifies signatures with the public key, by
OpenSSL, and refuses what the service's reference says that it refuses. The SDK is Oracle's own,
from PyPI. OCI APM is left out: its uploads are not signed, and the SDK has none.
"""

from __future__ import annotations

import base64
import datetime
import importlib.util
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hiq_servers.programs import run_program

REPOSITORY = Path(__file__).parents[1]
KEYS = REPOSITORY / "crates" / "exporters" / "oci" / "tests" / "keys"
PROGRAM_SECONDS = 60.0
COMPARTMENT = "ocid1.compartment.oc1..aaaa"
# {"exp": 4102444800}: the year 2100.
TOKEN = "x.eyJleHAiOiA0MTAyNDQ0ODAwfQ.y"
MESSAGES = [("k1", "Hà Nội"), ("", "no key"), ("k3", '{"a": [1, 2]}'), ("k4", "x" * 100_000)]


@pytest.fixture(scope="session")
def cloud() -> ModuleType:
    """The server of the Python suite."""
    source = REPOSITORY / "crates" / "pybind" / "tests" / "oracle_cloud.py"
    spec = importlib.util.spec_from_file_location("oracle_cloud", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def oci() -> ModuleType:
    """Oracle's SDK: a second to load."""
    return importlib.import_module("oci")


@dataclass
class User:
    """A home folder with a profile, and what the SDK makes of it."""

    home: Path
    config: dict[str, Any]
    arguments: dict[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.home)}


@pytest.fixture(params=["key", "passphrase", "session"])
def user(
    request: pytest.FixtureRequest, tmp_path: Path, cloud: ModuleType, oci: ModuleType
) -> User:
    folder = tmp_path / "home" / ".oci"
    folder.mkdir(parents=True)
    key = "traditional_aes256.pem" if request.param == "passphrase" else "plain_pkcs8.pem"
    lines = {
        "user": cloud.USER,
        "tenancy": cloud.TENANCY,
        "fingerprint": cloud.FINGERPRINT,
        "region": "eu-frankfurt-1",
        "key_file": str(KEYS / key),
    }
    if request.param == "passphrase":
        lines["pass_phrase"] = "open-sesame"
    if request.param == "session":
        (folder / "token").write_text(TOKEN)
        lines["security_token_file"] = str(folder / "token")
    text = "\n".join(f"{name}={value}" for name, value in lines.items())
    (folder / "config").write_text(f"[DEFAULT]\n{text}\n")
    config = oci.config.from_file(str(folder / "config"))
    arguments = {}
    if request.param == "session":
        private = oci.signer.load_private_key_from_file(config["key_file"])
        arguments["signer"] = oci.auth.signers.SecurityTokenSigner(TOKEN, private)
    return User(folder.parent, config, arguments)


@pytest.fixture
def server(cloud: ModuleType) -> Iterator[Any]:
    running = cloud.Oracle.start()
    yield running
    running.close()


def authorization(request: Any) -> dict[str, str]:
    return dict(re.findall(r'(\w+)="([^"]*)"', request.headers["authorization"]))


def signing_string(request: Any) -> list[str]:
    """The lines that were signed, without what a moment and a body decide."""
    values = {**request.headers, "(request-target)": f"{request.method.lower()} {request.path}"}
    names = authorization(request)["headers"].split(" ")
    moment = {"date", "content-length", "x-content-sha256"}
    return [f"{name}: {'*' if name in moment else values[name]}" for name in names]


def compare(ours: Any, theirs: Any, folder: Path) -> None:
    """Two requests, header by header; both are verified with the public key."""
    assert ours.signer(folder) == theirs.signer(folder)
    assert signing_string(ours) == signing_string(theirs)
    fields, expected = authorization(ours), authorization(theirs)
    del fields["signature"], expected["signature"]
    assert fields == expected
    assert list(fields) == list(expected), "in the same order"
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert ("x-content-sha256" in ours.headers) == ("x-content-sha256" in theirs.headers)


def sign_again(oci: ModuleType, user: User, url: str, request: Any) -> dict[str, str]:
    """The headers that Oracle's signer gives to the very request that hiq sent."""
    requests = importlib.import_module("requests")
    signer = user.arguments.get("signer") or oci.signer.Signer(
        user.config["tenancy"],
        user.config["user"],
        user.config["fingerprint"],
        user.config["key_file"],
        user.config.get("pass_phrase"),
    )
    kept = {name: request.headers[name] for name in ("date", "content-type", "content-length")}
    again = requests.Request(
        request.method, url + request.path, data=request.body, headers=kept
    ).prepare()
    signs_body = "x-content-sha256" in authorization(request)["headers"]
    done = signer.do_request_sign(again, enforce_content_headers=signs_body)
    return {name.lower(): value for name, value in done.headers.items()}


def check_signature(oci: ModuleType, user: User, url: str, request: Any) -> None:
    expected = sign_again(oci, user, url, request)
    assert request.headers["authorization"] == expected["authorization"]
    assert request.headers.get("x-content-sha256") == expected.get("x-content-sha256")


# --- Streaming ------------------------------------------------------------------------------------

PUTS = """
import json, sys
from hiq.vendor_oci_streaming import OciStreamingClient
client = OciStreamingClient(sys.argv[1], sys.argv[2])
print(json.dumps([dict(entry) for entry in client.put(json.load(open(sys.argv[3])))]))
"""


def test_messages_are_put_as_oracle_s_sdk_puts_them(
    hiq_installed: None,
    cloud: ModuleType,
    oci: ModuleType,
    server: Any,
    user: User,
    tmp_path: Path,
    compared: Callable[[str, str, int], None],
) -> None:
    server.answer = server.take_messages(refuse=lambda at: at % 4 == 2)
    given = tmp_path / "messages.json"
    given.write_text(json.dumps(MESSAGES))
    command = [sys.executable, "-c", PUTS, server.url, cloud.STREAM, str(given)]
    ran = run_program(
        command, folder=tmp_path, timeout_seconds=PROGRAM_SECONDS, environment=user.environment
    )
    (ours,) = server.requests
    entries = json.loads(ran.require_success().stdout)

    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    models = oci.streaming.models
    details = models.PutMessagesDetails(
        messages=[
            models.PutMessagesDetailsEntry(key=encoded(key), value=encoded(value))
            for key, value in MESSAGES
        ]
    )
    client = oci.streaming.StreamClient(user.config, server.url, **user.arguments)
    answer = client.put_messages(cloud.STREAM, details).data
    (_, theirs) = server.requests
    compare(ours, theirs, tmp_path)
    assert ours.json() == theirs.json()
    check_signature(oci, user, server.url, ours)
    # Both are told the same of each message.
    assert [entry["error"] for entry in entries] == [entry.error for entry in answer.entries]
    assert answer.failures == 1
    compared("oci streaming, beside the sdk", "oracle cloud", len(MESSAGES))


# --- Monitoring -----------------------------------------------------------------------------------

# It ends without the snapshot that an exit would send.
COUNTS = """
import json, os, sys, hiq
exporter = hiq.OciMonitoringExporter(sys.argv[2], namespace="shop", endpoint=sys.argv[1])
hiq.init("shop", exporters=[], metrics=[exporter])
orders = hiq.metrics.counter("shop.orders", unit="{order}")
for at in range(60):
    orders.labels(at=at).inc(at + 1)
hiq.metrics.gauge("shop.größe").set(-1.5)
assert hiq.flush(30)
print(json.dumps(hiq.stats()["metrics-oci_monitoring"]), flush=True)
os._exit(0)
"""


def test_metrics_are_posted_as_oracle_s_sdk_posts_them(
    hiq_installed: None,
    cloud: ModuleType,
    oci: ModuleType,
    server: Any,
    user: User,
    tmp_path: Path,
    compared: Callable[[str, str, int], None],
) -> None:
    def refuse(one: dict[str, Any]) -> bool:
        return bool(one["dimensions"].get("at") == "7")

    server.answer = server.take_metrics(refuse=refuse)
    environment = {
        **user.environment,
        "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=one",
        "OTEL_LOG_LEVEL": "none",
    }
    command = [sys.executable, "-c", COUNTS, server.url, COMPARTMENT]
    ran = run_program(
        command, folder=tmp_path, timeout_seconds=PROGRAM_SECONDS, environment=environment
    )
    ledger = json.loads(ran.require_success().stdout)
    calls = list(server.requests)
    ours = [one for call in calls for one in cloud.metrics(call)]
    assert (ledger["offered"], ledger["exported"], ledger["rejected"]) == (61, 60, 1)
    assert len(ours) == 61
    assert max(len(cloud.metrics(call)) for call in calls) <= 50

    common = {
        "service.name": "shop",
        "service.instance.id": "one",
        "host.name": socket.gethostname(),
    }
    series: list[tuple[str, dict[str, str], str | None, float]]
    series = [("shop.orders", {"at": str(at), **common}, "{order}", at + 1) for at in range(60)]
    series.append(("shop.gr__e", common, None, -1.5))
    (time,) = {point["timestamp"] for one in ours for point in one["datapoints"]}
    moment = datetime.datetime.fromisoformat(time.replace("Z", "+00:00"))
    models = oci.monitoring.models
    data = [
        models.MetricDataDetails(
            namespace="shop",
            compartment_id=COMPARTMENT,
            name=name,
            dimensions=dimensions,
            metadata=None if unit is None else {"unit": unit},
            datapoints=[models.Datapoint(timestamp=moment, value=value)],
        )
        for name, dimensions, unit, value in series
    ]
    client = oci.monitoring.MonitoringClient(
        user.config, service_endpoint=server.url, **user.arguments
    )
    failed = 0
    for start in range(0, len(data), 50):
        details = models.PostMetricDataDetails(
            batch_atomicity="NON_ATOMIC", metric_data=data[start : start + 50]
        )
        failed += client.post_metric_data(details).data.failed_metrics_count
    theirs = server.requests[len(calls) :]

    def in_order(series: list[dict[str, Any]]) -> list[str]:
        return sorted(json.dumps(one, sort_keys=True) for one in series)

    assert in_order(ours) == in_order([one for call in theirs for one in cloud.metrics(call)])
    assert failed == ledger["rejected"]
    for call in calls:
        compare(call, theirs[0], tmp_path)
        check_signature(oci, user, server.url, call)
    compared("oci monitoring, beside the sdk", "oracle cloud", len(series))


def test_the_server_refuses_what_it_should(
    cloud: ModuleType, oci: ModuleType, server: Any, tmp_path: Path
) -> None:
    """The test of the test: a wrong key, a changed body and too many series do not pass."""
    server.answer = server.take_metrics()
    config = {
        "user": cloud.USER,
        "tenancy": cloud.TENANCY,
        "fingerprint": cloud.FINGERPRINT,
        "region": "eu-frankfurt-1",
        "key_file": str(KEYS / "other.pem"),
    }
    models = oci.monitoring.models
    point = models.Datapoint(timestamp=datetime.datetime.now(datetime.timezone.utc), value=1)
    one = models.MetricDataDetails(
        namespace="shop",
        compartment_id=COMPARTMENT,
        name="a",
        dimensions={"a": "b"},
        datapoints=[point],
    )
    client = oci.monitoring.MonitoringClient(config, service_endpoint=server.url)
    client.post_metric_data(
        models.PostMetricDataDetails(batch_atomicity="NON_ATOMIC", metric_data=[one])
    )
    with pytest.raises(AssertionError):
        server.requests[0].signer(tmp_path)
    config["key_file"] = str(KEYS / "plain_pkcs8.pem")
    client = oci.monitoring.MonitoringClient(config, service_endpoint=server.url)
    with pytest.raises(oci.exceptions.ServiceError, match="51 metric streams"):
        client.post_metric_data(
            models.PostMetricDataDetails(batch_atomicity="NON_ATOMIC", metric_data=[one] * 51)
        )
    refused = server.requests[1]
    refused.signer(tmp_path)
    refused.body += b" "
    with pytest.raises(AssertionError):
        refused.signer(tmp_path)
