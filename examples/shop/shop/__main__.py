"""``python -m shop``: open the shop, let a crowd of customers in, say how it went."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .catalogue import stock_up
from .client import Answer, visit
from .plan import plan_errands
from .pricing import Money
from .storage import Storage
from .web import HOST, Application, ShopServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

POOL_THREADS = 4
POLL_SECONDS = 0.02


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the result is its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=options.log_level.upper(), format="%(levelname)s %(message)s")
    with tempfile.TemporaryDirectory(prefix="shop-") as scratch:
        path = options.db or str(Path(scratch, "shop.sqlite"))
        if Path(path).exists():
            print(f"shop: {path} exists already: name a new file", file=sys.stderr)
            return 2
        # Kept open to the end: SQLite tidies up when the last connection goes, which takes a lock.
        with closing(Storage.create(path, stock_up(options.seed))) as books:
            if options.serve:
                return _serve(path, options.port)
            return _rush(path, books, options)


def _rush(path: str, books: Storage, options: argparse.Namespace) -> int:
    errands = plan_errands(options.requests, options.seed)
    started = time.perf_counter()
    with _open_shop(path) as server:
        serving = threading.Thread(
            target=server.serve_forever, args=(POLL_SECONDS,), name="shop-server"
        )
        serving.start()
        try:
            answers = asyncio.run(visit((HOST, server.server_port), errands, options.in_flight))
        finally:
            server.shutdown()
            serving.join()
    seconds = time.perf_counter() - started
    _summarize(answers, books, seconds, options.in_flight)
    return 0 if all(answer.as_expected for answer in answers) else 1


def _serve(path: str, port: int) -> int:
    with _open_shop(path, port) as server:
        print(f"the shop is open at http://{HOST}:{server.server_port}/ (Ctrl-C closes it)")
        sys.stdout.flush()
        try:
            server.serve_forever(POLL_SECONDS)
        except KeyboardInterrupt:
            print("\nclosed")
    return 0


@contextmanager
def _open_shop(path: str, port: int = 0) -> Iterator[ShopServer]:
    with (
        ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="shop-pool") as pool,
        ShopServer.on_loopback(Application(path, pool), port) as server,
    ):
        yield server


def _summarize(answers: list[Answer], books: Storage, seconds: float, in_flight: int) -> None:
    statuses = Counter(answer.status for answer in answers)
    sales, revenue_cents = books.sales()
    print(f"requests   {len(answers)}, {in_flight} in flight")
    print("statuses   " + ", ".join(f"{code}: {statuses[code]}" for code in sorted(statuses)))
    print(f"sales      {sales}, revenue {Money.text(revenue_cents)}")
    for answer in answers:
        if not answer.as_expected:
            print(
                f"unexpected {answer.status} for request {answer.errand.number}: {answer.payload}"
            )
    print(f"seconds    {seconds:.2f}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="shop", description=__doc__)
    parser.add_argument("--requests", type=_positive, default=200, help="in all (200)")
    parser.add_argument("--in-flight", type=_positive, default=16, help="at a time (16)")
    parser.add_argument("--db", metavar="PATH", help="a new file for the books (a temporary one)")
    parser.add_argument("--seed", type=int, default=1, help="decides who asks for what (1)")
    parser.add_argument("--serve", action="store_true", help="only open the shop, until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="for --serve (any free port)")
    parser.add_argument(
        "--log-level", default="error", choices=("debug", "info", "warning", "error")
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
