"""The extra tables count real bytes: expected figures come from the files, pipes and servers themselves."""

from __future__ import annotations

import http.server
import io
import os
import threading
import types
from collections.abc import Iterator

import hiq
import pytest
from hiq import constants as c


def total(driver: hiq.HiQLatency, metric: str) -> float:
    """What the metric's tree says that all calls together added."""
    return driver.get_k0s_summary(metric)[0][1]


def run(program, source: str, *tables: list[str]):
    """Traces `main` of a program with extra tables while it runs once."""
    module = program(source)
    driver = hiq.HiQLatency([[module.__name__, "", "main", "main"]], extra_hiq_table=list(tables))
    try:
        result = module.main()
    finally:
        driver.disable_hiq()
    return result, driver, module


def test_text_files_are_counted_in_bytes(program, tmp_path) -> None:
    plain, wide = tmp_path / "plain.txt", tmp_path / "wide.txt"
    source = f"""
        def main():
            with open({str(plain)!r}, "w", encoding="utf-8") as file:
                log.append(file.write("ascii\\n" * 1000))
                log.append(file.write("größer €\\n"))
            with open({str(wide)!r}, "w", encoding="utf-16-le") as file:
                log.append(file.write("abc"))
            with open({str(plain)!r}, encoding="utf-8") as file:
                log.append(len(file.read(10)))
                log.append(len(file.read()))
            return log
    """
    before = io.TextIOWrapper.__dict__["read"], io.TextIOWrapper.__dict__["write"]
    result, driver, _ = run(program, source, c.TAU_TABLE_DIO_RD, c.TAU_TABLE_DIO_WT)
    assert (io.TextIOWrapper.__dict__["read"], io.TextIOWrapper.__dict__["write"]) == before
    assert result == [6000, 9, 3, 10, 5999]
    sizes = plain.stat().st_size, wide.stat().st_size
    assert total(driver, "get_dio_bytes_r") == sizes[0]
    assert total(driver, "get_dio_bytes_w") == sum(sizes)
    assert (driver.dio_bytes_r, driver.get_dio_bytes_w()) == (sizes[0], sum(sizes))


def test_printing_goes_on_while_writes_are_counted(program, capfd) -> None:
    source = """
        def main():
            print("on stdout")
            import sys
            print("on stderr", file=sys.__stderr__)
    """
    run(program, source, c.TAU_TABLE_DIO_WT)
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("on stdout\n", "on stderr\n")


def test_descriptors_are_counted_in_bytes(program) -> None:
    source = """
        import os
        def main():
            reading, writing = os.pipe()
            log.append(os.write(writing, b"x" * 1234))
            log.append(len(os.read(reading, 1000)))
            log.append(len(os.read(reading, 1000)))
            os.close(reading), os.close(writing)
            try:
                os.read(reading, 1)
            except OSError as error:
                log.append(type(error).__name__)
    """
    before = os.read, os.write
    _, driver, module = run(program, source, c.HIQ_TABLE_SIO_RD, c.HIQ_TABLE_SIO_WT)
    assert (os.read, os.write) == before
    assert module.log == [1234, 1000, 234, "OSError"]
    assert total(driver, "get_sio_bytes_r") == 1234
    assert total(driver, "get_sio_bytes_w") == 1234
    names = [node.name for node in driver.get_metrics("get_sio_bytes_r")[0].get_root().nodes[0].nodes]
    assert names == ["__sio_r", "__sio_r"]


def test_our_own_readings_are_not_counted(program) -> None:
    source = "def main():\n    return None\n"
    module = program(source)
    with hiq.HiQMemory([[module.__name__, "", "main", "main"]], extra_hiq_table=[c.HIQ_TABLE_SIO_RD]) as driver:
        for _ in range(10):
            module.main()
        assert driver.get_sio_bytes_r() == 0


def test_counters_of_two_drivers_are_apart(program) -> None:
    source = """
        import os
        def main():
            reading, writing = os.pipe()
            os.write(writing, b"x" * 10)
            os.read(reading, 10)
            os.close(reading), os.close(writing)
    """
    module = program(source)
    row = [module.__name__, "", "main", "main"]
    with hiq.HiQLatency([row], extra_hiq_table=[c.HIQ_TABLE_SIO_RD]) as first:
        module.main()
        with hiq.HiQLatency([row], extra_hiq_table=[c.HIQ_TABLE_SIO_RD]) as second:
            module.main()
        assert (first.sio_bytes_r, second.sio_bytes_r) == (20, 10)
        assert (total(first, "get_sio_bytes_r"), total(second, "get_sio_bytes_r")) == (20, 10)
    later = hiq.HiQLatency([row])
    assert later.metric_funcs[0].__name__ == "time"
    assert len(later.metric_funcs) == 1
    later.disable()


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/there")
                body = b"moved"
            else:
                self.send_response(404 if self.path == "/nothing" else 200)
                body = b"y" * 777
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            received.append(len(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_args: object) -> None:
            pass

    received: list[int] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield types.SimpleNamespace(url=f"http://127.0.0.1:{server.server_address[1]}", received=received)  # type: ignore[misc]
    server.shutdown()
    server.server_close()


def test_bodies_of_requests_are_counted_in_bytes(program, server) -> None:
    pytest.importorskip("requests", reason="the package `requests` is what these tables trace")
    source = f"""
        import requests
        def main():
            session = dict(timeout=60, proxies={{"http": ""}})
            log.append(len(requests.get({server.url!r} + "/page", **session).content))
            log.append(len(requests.get({server.url!r} + "/nothing", **session).content))
            answer = requests.get({server.url!r} + "/moved", **session)
            log.append(len(answer.content) + sum(len(hop.content) for hop in answer.history))
            streamed = requests.get({server.url!r} + "/streamed", stream=True, **session)
            log.append(len(streamed.raw.read()))
            requests.post({server.url!r}, data=b"z" * 333, **session)
            requests.post({server.url!r}, json={{"a": "ä"}}, **session)
    """
    _, driver, module = run(program, source, c.TAU_TABLE_NIO_GET, c.TAU_TABLE_NIO_WRT)
    assert total(driver, "get_nio_bytes_r") == sum(module.log)
    assert total(driver, "get_nio_bytes_w") == sum(server.received)
    assert driver.nio_bytes_w == sum(server.received)


def test_hiqs_name_for_posts_counts_the_same(program, server) -> None:
    pytest.importorskip("requests", reason="the package `requests` is what these tables trace")
    source = f"""
        import requests
        def main():
            requests.post({server.url!r}, data=b"z" * 100, timeout=60, proxies={{"http": ""}})
    """
    _, driver, _ = run(program, source, c.TAU_TABLE_NIO_POS)
    assert total(driver, "get_nio_bytes_w") == sum(server.received) == 100
