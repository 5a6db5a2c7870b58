"""What Oracle's SDK signs and sends, for the tests of hiq-oci.

    pip install oci==2.189.0 requests
    python oci_golden.py FOLDER

Reads `keys/plain_pkcs8.pem` in the folder of the crate's tests and writes `golden/signed.json` and `golden/metrics.json`
there. Each request is signed by `oci.signer` itself, with a date that is given; the metrics are the SDK's own models, written
by the SDK.
"""

from __future__ import annotations

import base64
import datetime
import json
import pathlib
import sys

import oci
import requests

TENANCY = "ocid1.tenancy.oc1..aaaatenancy"
USER = "ocid1.user.oc1..aaaauser"
DATE = "Thu, 05 Jan 2023 21:31:40 GMT"
SERVICE = "https://telemetry-ingestion.eu-frankfurt-1.oraclecloud.com"

CASES = [
    ("POST", f"{SERVICE}/20180401/metrics", b'{"a": 1}', "with_body"),
    ("POST", f"{SERVICE}/20180401/metrics", b"", "with_body"),
    ("PUT", "http://127.0.0.1:8080/a%20b?z=1&a=%2F", b"\x00\xff", "with_body"),
    ("GET", "https://h.example/20180418/streams?limit=1", b"", "with_body"),
    ("POST", "https://h.example:8443/20180418/streams/ocid1.stream/messages", b'{"messages":[]}', "without_body"),
]


def signed(pem: str) -> dict[str, object]:
    # The SDK does not look whether it is the key's.
    fingerprint = "34:18:95:53:19:b8:e0:6d:0e:97:85:a7:86:06:d1:25"
    signer = oci.signer.Signer(TENANCY, USER, fingerprint, None, private_key_content=pem)
    token = oci.auth.signers.SecurityTokenSigner("a.b.c", signer.private_key)
    cases = []
    for method, url, body, signed in CASES:
        for name, who in (("key", signer), ("token", token)):
            request = requests.Request(method, url, data=body, headers={"date": DATE}).prepare()
            request.headers["content-type"] = "application/json"
            request.headers["content-length"] = str(len(body))
            done = who.do_request_sign(request, enforce_content_headers=signed == "with_body")
            headers = {key.lower(): value for key, value in done.headers.items()}
            cases.append(
                {
                    "method": method,
                    "url": url,
                    "body": base64.b64encode(body).decode(),
                    "signed": signed,
                    "by": name,
                    "authorization": headers["authorization"],
                    "x-content-sha256": headers.get("x-content-sha256"),
                }
            )
    return {"made_by": f"oci {oci.__version__}", "date": DATE, "cases": cases}


def metrics(pem: str) -> dict[str, object]:
    """A counter, a gauge, a histogram and a summary, as hiq names their series."""
    models = oci.monitoring.models
    time = datetime.datetime(2023, 2, 1, 1, 2, 29, 600000, tzinfo=datetime.timezone.utc)
    common = {"service.name": "checkout", "host.name": "h1"}
    city = {"city": 'H\u00e0 "N\u1ed9i"\n', "a_b": "1", **common}
    median = {**common, "quantile": "0.5"}
    series = [
        ("shop.orders", city, "{order}", 7),
        ("gr__e", common, None, -1.5),
        ("m_1st_count", common, "s", 3),
        ("m_1st_sum", common, "s", 6.5),
        ("m_1st_min", common, "s", 0.5),
        ("work_count", common, "s", 2),
        ("work_sum", common, "s", 0.25),
        ("work", median, "s", 0.1),
    ]
    details = models.PostMetricDataDetails(
        batch_atomicity="NON_ATOMIC",
        metric_data=[
            models.MetricDataDetails(
                namespace="shop",
                compartment_id="ocid1.compartment.oc1..aaaa",
                resource_group="frontend-fleet",
                name=name,
                dimensions=dimensions,
                metadata=None if unit is None else {"unit": unit},
                datapoints=[models.Datapoint(timestamp=time, value=value)],
            )
            for name, dimensions, unit, value in series
        ],
    )
    config = {"user": USER, "tenancy": TENANCY, "fingerprint": "aa" + ":aa" * 15, "key_content": pem}
    client = oci.monitoring.MonitoringClient({**config, "region": "eu-frankfurt-1"})
    body = client.base_client.sanitize_for_serialization(details)
    return {"made_by": f"oci {oci.__version__}", "body": body}


def main(folder: pathlib.Path) -> None:
    pem = (folder / "keys" / "plain_pkcs8.pem").read_text(encoding="ascii")
    for name, content in (("signed", signed(pem)), ("metrics", metrics(pem))):
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (folder / "golden" / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
