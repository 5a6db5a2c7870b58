"""What HiQ 1.1.14 with py_zipkin sends to OCI APM, and what its T2 client sends, for the tests of hiq's own.

    pip install hiq-python==1.1.14 py_zipkin requests
    python hiq_oci_golden.py > crates/pybind/tests/golden/hiq_oci.json

A server of this machine stands in for Oracle's. Ids, times and addresses are left out: they are other ones each time.
"""

from __future__ import annotations

import http.server
import json
import os
import sys
import threading
from typing import Any

REQUESTS: list[tuple[str, str, dict[str, str], Any]] = []
KEPT = ("name", "kind", "tags", "parentId", "id", "traceId", "localEndpoint")


class Server(http.server.BaseHTTPRequestHandler):
    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        REQUESTS.append((self.command, self.path, dict(self.headers), json.loads(body or b"null")))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_PUT = do_GET = _take

    def log_message(self, *_args: object) -> None:
        pass


def work() -> None:
    step("one")
    step("two")


def step(_name: str) -> None:
    pass


def fail() -> None:
    raise ValueError("bad")


def shape(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The spans in the order of their times, parents by place."""
    spans = sorted(spans, key=lambda span: span["timestamp"])
    place = {span["id"]: at for at, span in enumerate(spans)}
    assert len({span["traceId"] for span in spans}) == 1
    return [
        {
            "name": span["name"],
            "kind": span.get("kind"),
            "tags": span.get("tags", {}),
            "service": span["localEndpoint"]["serviceName"],
            "parent": place.get(span.get("parentId")),
            "traceId": len(span["traceId"]),
        }
        for span in spans
    ]


def main() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    os.environ.update(APM_BASE_URL=url, APM_PUB_KEY="KEY")

    import hiq
    from hiq.http_metric_client import HttpMetricsClient
    from hiq.vendor_oci_apm import HiQOciApmContext, get_oci_apm_endpoint

    module = sys.modules["__main__"]
    sys.modules["program"] = module
    rows = [["program", "", "work", "work"], ["program", "", "step", "step"], ["program", "", "fail", "fail"]]
    golden: dict[str, Any] = {"endpoint": get_oci_apm_endpoint().replace(url, "URL")}
    contexts: dict[str, Any] = {}

    def record(name: str, run: Any) -> None:
        REQUESTS.clear()
        try:
            run()
        except ValueError as error:
            contexts.setdefault("raised", {})[name] = str(error)
        posts = [
            {"method": method, "path": path, "type": headers.get("Content-Type"), "spans": shape(body)}
            for method, path, headers, body in REQUESTS
        ]
        contexts[name] = posts

    def plain() -> None:
        with HiQOciApmContext(service_name="svc", span_name="root"):
            pass

    def tags() -> None:
        with HiQOciApmContext("svc", "root", binary_annotations={"city": "H\u00e0 N\u1ed9i", "n": "1"}):
            pass

    def nested() -> None:
        with HiQOciApmContext("svc", "root"):
            module.work()

    def failing() -> None:
        with HiQOciApmContext("svc", "root"):
            module.fail()

    def unsampled() -> None:
        with HiQOciApmContext("svc", "root", sample_rate=0):
            module.work()

    def outside() -> None:
        module.work()

    record("plain", plain)
    record("tags", tags)
    os.environ["TRACE_TYPE"] = "oci-apm"
    driver = hiq.HiQLatency(rows)
    for name, run in (("nested", nested), ("failing", failing), ("unsampled", unsampled), ("outside", outside)):
        record(name, run)
    os.environ["SERVICE_NAME"] = "named"
    record("named", nested)
    driver.disable_hiq()
    golden["contexts"] = contexts

    REQUESTS.clear()
    client = HttpMetricsClient(f"{url}/", "eu-frankfurt-1-ad-1")
    client.gauge_metric("retries", 3)
    client.metrics_queue.put_nowait({"name": "predict", "datapoints": [{"timestamp": 1, "value": 2}]})
    client.submit_metrics_queue()
    os.environ["T2_FLEET"] = "blue"
    client.timing_metric_data([])
    puts = []
    for method, path, headers, body in REQUESTS:
        for metric in body["metrics"]:
            metric["datapoints"] = [{**point, "timestamp": 1} for point in metric["datapoints"]]
        puts.append({"method": method, "path": path, "type": headers.get("Content-Type"), "body": {**body, "hostname": ""}})
    golden["t2"] = puts
    json.dump(golden, sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
