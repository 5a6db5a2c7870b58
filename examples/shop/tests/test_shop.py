"""The shop does what its README says, and its journal tells the truth about it.

Run with ``python -m unittest discover examples/shop/tests``, or with pytest.
"""

from __future__ import annotations

import ast
import csv
import importlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import urllib.request
import zlib
from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import Any

SHOP = Path(__file__).resolve().parents[1]
COLUMNS = ("module", "class", "function", "name")
LIMIT_SECONDS = 120
REQUESTS = 88
IN_FLIGHT = 16

Line = dict[str, Any]
Edge = tuple[str, "str | None"]


class Run:
    """One run of the program in a process of its own."""

    def __init__(
        self, *arguments: str, journaled: bool = True, under: tuple[str, ...] = ()
    ) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            journal = Path(scratch, "journal.jsonl")
            database = Path(scratch, "books.sqlite")
            program = under or ("-m", "shop")
            finished = subprocess.run(
                [sys.executable, *program, "--db", str(database), *arguments],
                env=environment(journal if journaled else None),
                cwd=scratch,
                capture_output=True,
                text=True,
                timeout=LIMIT_SECONDS,
                check=False,
            )
            self.status = finished.returncode
            self.output = finished.stdout
            self.errors = finished.stderr
            self.lines = read_journal(journal) if journaled else []
            self.invoices = query(database, "SELECT number, total_cents, invoice FROM sale")
            self.last_pieces = query(database, "SELECT stock FROM product WHERE sku = 'LAST-1'")

    def statuses(self) -> dict[int, int]:
        """How often each HTTP status was answered, as the summary says."""
        [text] = re.findall(r"^statuses +(.*)$", self.output, re.MULTILINE)
        return {int(code): int(count) for code, count in re.findall(r"(\d+): (\d+)", text)}

    def counts(self) -> Counter[str]:
        """Calls per function."""
        return Counter(line["function"] for line in self.lines)

    def edges(self) -> Counter[Edge]:
        """Calls per function and caller."""
        by_id = {line["id"]: line["function"] for line in self.lines}
        return Counter((line["function"], by_id.get(line["parent"])) for line in self.lines)

    def edges_within_threads(self) -> Counter[Edge]:
        """The same, but a call that came from another thread counts as nobody's."""
        by_id = {line["id"]: line for line in self.lines}

        def caller(line: Line) -> str | None:
            parent = by_id.get(line["parent"])
            same = parent is not None and parent["thread_id"] == line["thread_id"]
            return parent["function"] if parent is not None and same else None

        return Counter((line["function"], caller(line)) for line in self.lines)


def environment(journal: Path | None) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key != "SHOP_JOURNAL"}
    shown = {"SHOP_JOURNAL": str(journal)} if journal else {}
    return {**kept, "PYTHONPATH": str(SHOP), "PYTHONWARNINGS": "default", **shown}


def read_journal(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def query(database: Path, statement: str) -> list[Any]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def conf_rows() -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads((SHOP / "shop.json").read_text(encoding="utf-8"))
    return rows


def dotted(row: dict[str, str]) -> str:
    return ".".join(filter(None, (row["module"], row["class"], row["function"])))


def read_plain_yaml(text: str) -> list[dict[str, str]]:
    """Read a list of flat mappings of strings, which is all of YAML that the conf uses."""
    rows: list[dict[str, str]] = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"(- |  )(\w+): (\w[\w.]*|\"\")", line)
        if match is None:
            raise ValueError(f"not plain: {line!r}")
        bullet, key, value = match.groups()
        if bullet == "- ":
            rows.append({})
        rows[-1][key] = value.strip('"')
    return rows


class ConfTest(unittest.TestCase):
    def test_the_three_files_hold_the_same_rows(self) -> None:
        rows = conf_rows()
        self.assertEqual(rows, read_plain_yaml((SHOP / "shop.yaml").read_text(encoding="utf-8")))
        with (SHOP / "shop.csv").open(encoding="utf-8", newline="") as file:
            records = [dict(zip(COLUMNS, record, strict=True)) for record in csv.reader(file)]
        self.assertEqual(rows, records)

    def test_every_row_names_a_callable_and_has_a_name_of_its_own(self) -> None:
        sys.path.insert(0, str(SHOP))
        self.addCleanup(sys.path.remove, str(SHOP))
        for row in conf_rows():
            owner = importlib.import_module(row["module"])
            owner = getattr(owner, row["class"]) if row["class"] else owner
            self.assertTrue(callable(getattr(owner, row["function"])), row)
        names = [row["name"] for row in conf_rows()]
        self.assertEqual(len(names), len(set(names)))


class PackageTest(unittest.TestCase):
    def test_it_uses_the_standard_library_alone_and_never_heard_of_hiq(self) -> None:
        for path in (SHOP / "shop").glob("*.py"):
            source = path.read_text(encoding="utf-8")
            self.assertNotIn("hiq", source.casefold(), path.name)
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    modules = [node.module or ""]
                else:
                    continue
                for module in modules:
                    top = module.partition(".")[0]
                    self.assertIn(top, {*sys.stdlib_module_names, "_typeshed"}, path.name)


class RushTest(unittest.TestCase):
    rush: Run

    @classmethod
    def setUpClass(cls) -> None:
        cls.rush = Run("--requests", str(REQUESTS), "--seed", "7")

    def test_it_ends_well_and_says_nothing_on_the_error_stream(self) -> None:
        self.assertEqual((0, ""), (self.rush.status, self.rush.errors))
        self.assertIn(f"requests   {REQUESTS}, {IN_FLIGHT} in flight\n", self.rush.output)
        self.assertEqual(REQUESTS, sum(self.rush.statuses().values()))
        self.assertEqual({200, 201, 400, 404, 409, 500}, set(self.rush.statuses()))

    def test_every_row_of_the_conf_is_journaled_and_nothing_else(self) -> None:
        self.assertEqual({dotted(row) for row in conf_rows()}, set(self.rush.counts()))

    def test_counts_follow_from_the_answers(self) -> None:
        counts, statuses = self.rush.counts(), self.rush.statuses()
        for once_per_request in (
            "shop.client.Client.fetch",
            "shop.client.read_response",
            "shop.client.body_chunks",
            "shop.web.Application.__call__",
        ):
            self.assertEqual(REQUESTS, counts[once_per_request], once_per_request)
        for once in (
            "shop.client.Progress.watch",
            "shop.storage.Storage.create",
            "shop.storage.Storage.sales",
        ):
            self.assertEqual(1, counts[once], once)
        self.assertEqual(statuses[201], counts["shop.invoices.build_invoice"])
        orders = statuses[201] + statuses[409] + statuses[400]
        self.assertEqual(orders, counts["shop.orders.place_order"])
        texts = counts["shop.codec.pack"] + statuses[201]
        self.assertEqual(texts, counts["json.dumps"])
        drawn = counts["shop.pictures.draw"] - statuses[500]
        self.assertEqual(texts + drawn, counts["zlib.compress"])
        self.assertEqual(2 * (REQUESTS - statuses[500]), counts["shop.codec.checksum"])

    def test_the_books_agree_with_the_answers(self) -> None:
        sales = self.rush.invoices
        self.assertEqual(self.rush.statuses()[201], len(sales))
        cents = sum(total for _, total, _ in sales)
        self.assertIn(f"revenue {cents // 100}.{cents % 100:02}\n", self.rush.output)
        for number, _, invoice in sales:
            self.assertEqual(number, json.loads(zlib.decompress(invoice))["number"])

    def test_errors_are_journaled_with_type_and_text(self) -> None:
        raised = Counter(
            (line["function"], line["error_type"])
            for line in self.rush.lines
            if line["outcome"] == "raised"
        )
        statuses = self.rush.statuses()
        self.assertEqual(
            {
                ("shop.client.Progress.watch", "asyncio.exceptions.CancelledError"): 1,
                ("shop.orders.place_order", "shop.errors.OutOfStock"): statuses[409],
                ("shop.orders.place_order", "shop.errors.UnknownCoupon"): statuses[400],
                ("shop.pictures.draw", "json.decoder.JSONDecodeError"): statuses[500],
                ("shop.pricing.total_price", "shop.errors.UnknownCoupon"): statuses[400],
                ("shop.storage.Storage.product", "shop.errors.UnknownProduct"): statuses[404],
                ("shop.storage.Storage.reserve", "shop.errors.OutOfStock"): statuses[409],
                ("shop.web.Application.__call__", "json.decoder.JSONDecodeError"): statuses[500],
            },
            raised,
        )
        texts = {line["error_text"] for line in self.rush.lines if line["outcome"] == "raised"}
        self.assertTrue(any(re.fullmatch(r"11 of LAST-1 wanted, \d+ left", t) for t in texts))
        self.assertIn("no product has the number 'P-9999'", texts)
        self.assertIn("no coupon has the code 'PLEASE'", texts)

    def test_abandoned_generators_are_closed_and_exhausted_ones_return(self) -> None:
        ends = {(line["function"], line["outcome"]) for line in self.rush.lines}
        self.assertIn(("shop.catalogue.search", "closed"), ends)
        self.assertIn(("shop.catalogue.search", "returned"), ends)
        closed = {function for function, outcome in ends if outcome == "closed"}
        self.assertEqual({"shop.catalogue.search"}, closed)

    def test_a_call_lies_inside_the_call_it_came_from(self) -> None:
        by_id = {line["id"]: line for line in self.rush.lines}
        self.assertEqual(len(self.rush.lines), len(by_id))
        for line in self.rush.lines:
            self.assertLessEqual(line["enter_unix_nanos"], line["exit_unix_nanos"])
            if line["parent"] is not None:
                parent = by_id[line["parent"]]
                self.assertLessEqual(parent["enter_unix_nanos"], line["enter_unix_nanos"])
                self.assertLessEqual(line["exit_unix_nanos"], parent["exit_unix_nanos"])
                self.assertEqual(parent["request"], line["request"])

    def test_sixteen_requests_are_in_flight(self) -> None:
        fetches = [line for line in self.rush.lines if line["function"].endswith("Client.fetch")]
        starts = [(line["enter_unix_nanos"], 1) for line in fetches]
        ends = [(line["exit_unix_nanos"], -1) for line in fetches]
        in_flight = accumulate(change for _, change in sorted(starts + ends))
        self.assertEqual(IN_FLIGHT, max(in_flight))
        self.assertEqual(IN_FLIGHT, len({line["task"] for line in fetches}))

    def test_work_handed_to_other_threads_remembers_who_handed_it_over(self) -> None:
        by_id = {line["id"]: line for line in self.rush.lines}
        handed = set()
        for line in self.rush.lines:
            parent = by_id.get(line["parent"])
            if parent is not None and parent["thread_id"] != line["thread_id"]:
                pool = re.sub(r"\d+$", "", line["thread_name"])
                handed.add((parent["function"], line["function"], pool))
        self.assertEqual(
            {
                ("shop.client.Client.fetch", "shop.codec.checksum", "asyncio_"),
                ("shop.client.Client.fetch", "shop.codec.unpack", "asyncio_"),
                ("shop.orders.place_order", "shop.invoices.build_invoice", "shop-pool_"),
                ("shop.pricing.total_price", "shop.pricing.unit_price", "shop-pool_"),
                ("shop.web.Application.__call__", "shop.pictures.draw", "shop-pool_"),
            },
            handed,
        )

    def test_only_these_calls_come_from_nowhere(self) -> None:
        self.assertEqual(
            {
                "shop.client.Client.fetch",
                "shop.client.Progress.watch",
                "shop.storage.Storage.create",
                "shop.storage.Storage.sales",
                "shop.web.Application.__call__",
            },
            {line["function"] for line in self.rush.lines if line["parent"] is None},
        )

    def test_the_same_seed_gives_the_same_edges_however_many_are_in_flight(self) -> None:
        again = Run("--requests", str(REQUESTS), "--seed", "7")
        alone = Run("--requests", str(REQUESTS), "--seed", "7", "--in-flight", "1")
        other = Run("--requests", str(REQUESTS), "--seed", "8")
        self.assertEqual(self.rush.edges(), again.edges())
        self.assertEqual(self.rush.edges(), alone.edges())
        self.assertNotEqual(self.rush.edges(), other.edges())

    def test_the_journal_changes_nothing_that_is_printed(self) -> None:
        silent = Run("--requests", str(REQUESTS), "--seed", "7", journaled=False)
        self.assertEqual(0, silent.status)
        self.assertEqual(without_seconds(self.rush.output), without_seconds(silent.output))

    def test_the_last_pieces_sell_out_and_no_further(self) -> None:
        run = Run("--requests", "200")
        self.assertEqual([(0,)], run.last_pieces)
        texts = {line["error_text"] for line in run.lines if "OutOf" in str(line["error_type"])}
        self.assertIn("1 of LAST-1 wanted, 0 left", texts)


class ProfilerTest(unittest.TestCase):
    def test_the_journal_agrees_with_the_profiler_of_the_interpreter(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            edges_path = Path(scratch, "edges.json")
            harness = str(SHOP / "tests" / "profiled_shop.py")
            under = (harness, str(edges_path), str(SHOP / "shop.json"))
            run = Run("--requests", "44", "--seed", "3", under=under)
            self.assertEqual((0, ""), (run.status, run.errors))
            edges = Counter((child, parent) for child, parent in read_edges(edges_path))
        self.assertEqual(edges, run.edges_within_threads())


class CommandLineTest(unittest.TestCase):
    def test_it_serves_until_interrupted(self) -> None:
        command = [sys.executable, "-m", "shop", "--serve"]
        with subprocess.Popen(
            command,
            env=environment(None),
            stdout=subprocess.PIPE,
            text=True,
            # Children of a shell's background job would ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            self.addCleanup(process.kill)
            assert process.stdout is not None
            found = re.search(r"http://\S+/", process.stdout.readline())
            assert found is not None
            with urllib.request.urlopen(found[0] + "products?words=set") as response:
                self.assertEqual(5, len(json.load(response)["found"]))
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=LIMIT_SECONDS)
        self.assertEqual((0, "\nclosed\n"), (process.returncode, rest))

    def test_it_leaves_a_file_that_exists_alone(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"mine")
            file.flush()
            finished = subprocess.run(
                [sys.executable, "-m", "shop", "--db", file.name],
                env=environment(None),
                capture_output=True,
                text=True,
                timeout=LIMIT_SECONDS,
                check=False,
            )
            self.assertEqual(b"mine", Path(file.name).read_bytes())
        self.assertEqual(2, finished.returncode)
        self.assertIn("exists already: name a new file", finished.stderr)


def read_edges(path: Path) -> list[list[Any]]:
    edges: list[list[Any]] = json.loads(path.read_text(encoding="utf-8"))
    return edges


def without_seconds(output: str) -> str:
    return re.sub(r"(?m)^seconds .*$", "", output)


if __name__ == "__main__":
    unittest.main()
