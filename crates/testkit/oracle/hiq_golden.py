"""Writes the expected values of `crates/core/tests/golden/hiq` by running Oracle HiQ 1.1.14 itself.

    python hiq_golden.py <folder>

See README.md beside this file for the environment it needs. Nothing here computes an expected value: every text comes
out of HiQ (trees), of the datetime module through HiQ (times), or of the interpreter (numbers).
"""

import contextlib
import gzip
import io
import json
import math
import os
import pathlib
import random
import struct
import sys
import time

import hiq
import hiq.tree
from hiq.hiq_utils import HiQIdGenerator  # noqa: F401  (fails early when the wrong `hiq` is installed)
from hiq.tree import Tree, get_duration_from_hiq_string, get_graph_from_string
from hiq.utils import lmk_data_handler, ts_pair_to_dt, ts_to_dt

ZONES = ["UTC", "America/New_York"]
FORMATS = {"ts": "_timestamp_", "dt": "_datetime_"}
TREES_PER_KIND = 260
FLOATS = 3000


def main(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(20261121)
    write_lines(folder / "trees.jsonl.gz", random_cases(rng))
    write_lines(folder / "floats.jsonl.gz", float_cases(rng))
    write_lines(folder / "times.jsonl.gz", time_cases(rng))
    named = {"trees": list(named_trees()), "strings": list(named_strings()), "lmk": list(lmk_lines())}
    text = json.dumps(named, ensure_ascii=False, indent=1) + "\n"
    (folder / "named.json").write_text(text, encoding="utf-8")


def write_lines(path, rows):
    text = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
    # No name and no time in the header: the same input gives the same file.
    path.write_bytes(gzip.compress(text.encode("utf-8"), compresslevel=9, mtime=0))


@contextlib.contextmanager
def local_zone(name):
    os.environ["TZ"] = name
    time.tzset()
    yield


# --- random trees -------------------------------------------------------------------------------------------------


def random_cases(rng):
    kinds = [time_tree, memory_tree, integer_tree, tiny_tree, up_down_tree, wide_tree, partly_wide_tree, short_tree]
    number = 0
    for _ in range(TREES_PER_KIND):
        for kind in kinds:
            case = kind(rng)
            case["tz"] = rng.choice(ZONES)
            yield answered(case, with_queries=number % 10 == 0)
            number += 1


def time_tree(rng):
    """Latency: a clock that only goes forward, near a daylight saving change one time in four."""
    clock = rng.choice([rng.uniform(1.6e9, 1.9e9)] * 3 + [1636264800.0 + rng.uniform(-3600, 3600)])

    def tick():
        nonlocal clock
        clock += 10 ** rng.uniform(-8, 1)
        return clock

    return tree_of(rng, "time", tick, extra=span_extra)


def memory_tree(rng):
    value = rng.randrange(20_000, 400_000) / 256

    def tick():
        nonlocal value
        if rng.random() < 0.6:
            value += rng.randrange(0, 4000) / 256
        return value

    return tree_of(rng, "get_memory_mb", tick, monotonic=False)


def integer_tree(rng):
    value = rng.randrange(0, 10 ** rng.randrange(1, 10))

    def tick():
        nonlocal value
        if rng.random() < 0.7:
            value += rng.randrange(0, 10 ** rng.randrange(1, 9))
        return value

    return tree_of(rng, "get_dio_bytes_r", tick, monotonic=False)


def tiny_tree(rng):
    """Deltas on both sides of the zero-span threshold."""
    value = rng.choice([0.0, rng.random(), 1.7e9])

    def tick():
        nonlocal value
        value += rng.choice([0.0, 5e-8, 9.9e-8, 1e-7, 1.01e-7, 2.5e-7, 1e-6, 1e-5])
        return value

    return tree_of(rng, "tiny", tick)


def up_down_tree(rng):
    def tick():
        # Beyond the year 9999, and before the year 1, HiQ cannot draw what it takes for a time.
        return rng.uniform(-1, 1) * 10 ** rng.uniform(-3, 10.7)

    return tree_of(rng, "delta", tick, monotonic=False)


def wide_tree(rng):
    return wide(rng, share=1.0)


def partly_wide_tree(rng):
    return wide(rng, share=rng.uniform(0.3, 0.9))


def wide(rng, share):
    clock = rng.choice([rng.uniform(1.6e9, 1.9e9), 1615705200.0 - 2.0])
    value = rng.randrange(20_000, 400_000) / 256

    def tick():
        nonlocal clock, value
        clock += 10 ** rng.uniform(-6, 3)
        value += rng.randrange(0, 2000) / 256
        return value

    def stamp():
        # A node has both stamps or no extra at all: with others HiQ raises KeyError.
        if rng.random() >= share:
            return {}, {}
        more = span_extra(rng)
        start = clock if rng.random() < 0.9 else float(int(clock))
        return {"start": start, **more}, {"end": start + 10 ** rng.uniform(-6, 5)}

    return tree_of(rng, "get_memory_mb", tick, monotonic=False, stamp=stamp)


def short_tree(rng):
    """Times whose text is too short to be taken for a time."""
    clock = float(rng.randrange(1_600_000_000, 1_900_000_000))

    def tick():
        nonlocal clock
        clock += rng.choice([0.5, 1.0, 0.25, 0.125, 0.001])
        return clock

    return tree_of(rng, "time", tick)


def tree_of(rng, tid, tick, monotonic=True, extra=lambda rng: {}, stamp=None):
    ops = []
    for _ in range(rng.choice([0, 1, 1, 1, 1, 2, 3])):
        call(rng, ops, tick, extra, stamp, level=1)
    case = {"tid": tid, "ops": ops}
    if not monotonic:
        case["non_monotonic"] = 1
    if rng.random() < 0.12:
        case["mode"] = rng.choice([1, 2])
    if rng.random() < 0.12:
        case["zin"] = repr(rng.choice([0.0, 0.1, 1e-3, 5.0]))
    if rng.random() < 0.6:
        case["extra"] = pairs(tree_extra(rng))
    return case


def call(rng, ops, tick, extra, stamp, level):
    name = "__" + rng.choice(["main", "f1", "f2", "f3", "get", "f_long_name", "größe", "predict"])
    at_start, at_end = stamp() if stamp else (extra(rng), extra(rng) if rng.random() < 0.2 else {})
    ops.append([name, repr(tick())] + ([pairs(at_start)] if at_start else []))
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 3]) if level < 5 else 0):
        if stamp is None and rng.random() < 0.03:
            a, b = sorted([tick(), tick()])
            ops.append({"add": [name, repr(a), repr(b)]})
        call(rng, ops, tick, extra, stamp, level + 1)
    value = repr(tick())
    ops.append([None, value, pairs(at_end)] if at_end else value)


def span_extra(rng):
    if rng.random() < 0.7:
        return {}
    choices = [
        ("args", lambda: f"int({rng.randrange(100)}),str(x)"),
        ("kwargs", lambda: "{'a': 'int(1)'}"),
        ("file", lambda: f"/srv/app/main.py:{rng.randrange(900)}"),
        ("quote", lambda: rng.choice(["it's", 'say "x"', "both ' and \"", "a\nb\\c"])),
        ("n", lambda: rng.choice([0, -3, 10**20, 0.1, 1e-9, True, None])),
        ("nested", lambda: {"a": [1, (2, 3), {"b": "c, d: e"}], "}": "]"}),
        (7, lambda: b"\x00]["),
    ]
    return {key: value() for key, value in rng.sample(choices, rng.randrange(1, 4))}


def tree_extra(rng):
    extra = {}
    if rng.random() < 0.7:
        extra["overhead_start"] = rng.randrange(1000)
        extra["overhead"] = rng.choice([rng.randrange(10**6), rng.uniform(0, 1e6)])
    for key, value in [
        ("img", "a.jpg"),
        ("path", "/a/very/long/path/to/a/file.jpg"),
        ("tricky", "a 'quoted' long text with an end's quote"),
        ("escaped", 'line\nline\ttab\\back "x" and more of it'),
        ("zero", rng.choice([0, 0.0, "", [], {}, (), None, False, set(), b""])),
        ("list", [1, "two", 3.0]),
        ("n", rng.choice([1, -1.5, True, 1e-7])),
    ]:
        if rng.random() < 0.25:
            extra[key] = value
    return extra


# --- asking HiQ ---------------------------------------------------------------------------------------------------


def answered(case, with_queries):
    with local_zone(case["tz"]):
        serialized = build(case).repr()
        case["repr"] = serialized
        # A new tree each time, for rendering changes the tree.
        shown = {key: build(case).get_graph(time_format) for key, time_format in FORMATS.items()}
        case |= shown if shown["dt"] != shown["ts"] else {"ts": shown["ts"]}
        if survives(lambda: Tree(serialized)):
            reread(case, serialized, shown)
        else:
            case["reread"] = None
        if with_queries:
            case["queries"] = queries(build(case))
    return case


def reread(case, serialized, shown):
    """What HiQ makes of its own string, where that differs from what it wrote."""
    if (again := silently(lambda: Tree(serialized)).repr()) != serialized:
        case["reread"] = again
    for key, time_format in FORMATS.items():
        if (text := silently(lambda: Tree(serialized)).get_graph(time_format)) != shown[key]:
            case["reread_" + key] = text


def survives(action):
    """Whether the process lives through it: some strings abort HiQ's C++ core, or make it read what is not there."""
    child = os.fork()
    if child == 0:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        action()
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def build(case):
    hiq.tree.global_zin_threshold = float(case.get("zin", "1e-07"))
    tree = Tree(tid=case["tid"], extra=unpaired(case.get("extra", [])), monotonic="non_monotonic" not in case)
    tree.mode = case.get("mode", 0)
    open_names = []
    for op in case["ops"]:
        if isinstance(op, str):
            tree.end(open_names.pop(), float(op))
        elif isinstance(op, dict):
            name, start, end = op["add"]
            tree.add_node(hiq.tree.itree.Node(name, float(start), float(end)))
        elif op[0] is None:
            tree.end(open_names.pop(), float(op[1]), unpaired(op[2]))
        else:
            open_names.append(op[0])
            tree.start(op[0], float(op[1]), unpaired(op[2]) if len(op) > 2 else {})
    return tree


def queries(tree):
    names = sorted(tree.get_distinct_node_names())
    levels = [[name, level] for name in names for level in range(4)]
    return {
        "summary": repr(tree),
        "root": repr(tree.get_root()),
        "first": repr(tree.get_root().nodes[0]) if tree.get_root().nodes else "",
        "names": names,
        "by_name": numbers(tree.duration_by_name_s()),
        "leaves": numbers(tree.leaf_duration_by_name_s()),
        "leaves_descending": numbers(tree.leaf_duration_by_name_s(ordered=1)),
        "leaves_ascending": numbers(tree.leaf_duration_by_name_s(ordered=2)),
        "leaves_text": tree.leaf_duration_by_name_s(ordered=3),
        "leaves_total": repr(tree.leaf_duration_total_s()),
        "of_name": [[name, repr(tree.get_duration_by_node_name(name))] for name in names],
        "of_level": [[n, l, repr(span)] for n, l in levels if (span := of_level(tree, n, l))],
        "dot": sorted(tree.to_dot_string("record").split("\n")),
        "last_span": tree.just_before_ending_root(),
    }


def of_level(tree, name, level):
    return tree.get_duration_by_node_name_and_level(name, level)


def numbers(of_name):
    return [[name, repr(value)] for name, value in of_name.items()]


def pairs(extra):
    return [[repr(key), repr(value)] for key, value in extra.items()]


def unpaired(entries):
    names = {"ValueError": ValueError, "inf": math.inf}
    return {eval(key): eval(value, names) for key, value in entries}  # our own literals, from above


def silently(action):
    with contextlib.redirect_stdout(io.StringIO()):
        return action()


# --- named trees --------------------------------------------------------------------------------------------------


def named_trees():
    at = 1636000000.123456
    latency = [
        ["__main", repr(at)], ["__f1", repr(at + 0.5), pairs({"args": "int(1)"})], ["__f2", repr(at + 1)],
        repr(at + 1.25), repr(at + 2), ["__f3", repr(at + 2.5)], repr(at + 3), repr(at + 4),
    ]  # fmt: skip
    memory = [["__main", "84.35202"], "1060.92232"]
    stamped = [["__main", "84.352", pairs({"start": at})], [None, "88.352", pairs({"end": at + 4})]]
    raised = pairs({"exception_summary": ValueError("an_exception")})
    overhead = pairs({"overhead_start": 17, "overhead": 173, "img": "a.jpg"})
    midnight = 1636070399.123456
    cases = [
        ("latency", {"tid": "time", "ops": latency, "extra": overhead}),
        ("overhead alone", {"tid": "time", "ops": latency, "extra": overhead[:2]}),
        ("overhead as a float", {"tid": "time", "ops": latency, "extra": pairs({"overhead_start": 0, "overhead": 7.9})}),
        ("memory", {"tid": "get_memory_mb", "ops": memory, "non_monotonic": 1}),
        ("memory with timestamps", {"tid": "get_memory_mb", "ops": stamped, "non_monotonic": 1}),
        ("midnight", {"tid": "time", "ops": [["__main", repr(midnight)], repr(midnight + 4)]}),
        ("exception", {"tid": "time", "ops": [["__main", repr(at)], [None, repr(at + 4.0009), raised]]}),
        ("non-ASCII extra", {"tid": "time", "ops": [["__é", repr(at), pairs({"ключ": "Ünïcode 🦉", "n": 1})], repr(at + 4)]}),
        ("non-ASCII tree extra", {"tid": "time", "ops": latency, "extra": pairs({"k": "häßlich" * 5, "j": "🦉" * 21})}),
        ("all dropped", {"tid": "get_memory_mb", "ops": [["__main", "5.0"], ["__f", "5.0"], "5.0", "5.0"]}),
        ("nothing", {"tid": "time", "ops": []}),
        ("zero-span parent of a survivor", {"tid": "d", "ops": [["__p", "1.0"], ["__c", "2.0"], "3.0", "1.0"]}),
        ("parent of a dropped child", {"tid": "d", "ops": [["__p", "1.0"], ["__c", "1.0"], "1.0", "1.0"]}),
        ("exactly the threshold", {"tid": "d", "ops": [["__p", "0.0"], "1e-07"]}),
        ("extra on a dropped span", {"tid": "d", "ops": [["__m", "1.0"], ["__c", "2.0", raised], "2.0", "3.0"]}),
        ("mode 1", {"tid": "d", "mode": 1, "ops": [["__p", "1.0"], "1.0"]}),
        ("mode 2", {"tid": "d", "mode": 2, "ops": [["__p", "1.0"], "1.0"]}),
        ("open spans", {"tid": "time", "ops": [["__main", repr(at)], ["__f", repr(at + 1)], repr(at + 2)]}),
        ("timestamp of 13 characters", {"tid": "time", "ops": [["__main", "1636000000.25"], "1636000001.25"]}),
        ("timestamp of 14 characters", {"tid": "time", "ops": [["__main", "1636000000.125"], "1636000001.125"]}),
        ("just above the oldest time", {"tid": "time", "ops": [["__main", "816649560.12345"], "816649561.12345"]}),
        ("just below the oldest time", {"tid": "time", "ops": [["__main", "816649559.99999"], "816649561.12345"]}),
        ("negative span", {"tid": "d", "ops": [["__p", "5.0"], "-1.5"]}),
        ("negative share", {"tid": "d", "ops": [["__p", "5.0"], ["__c", "7.0"], "6.0", "9.0"]}),
        ("several calls", {"tid": "d", "ops": [["__p", "5.0"], "6.0", ["__q", "1.0"], "9.0", ["__r", "3.0"], "4.0"]}),
        ("odd names", {"tid": "d", "ops": [["a b", "1.0"], ["a.b:c'd\"", "2.0"], "3.0", "4.0"]}),
        ("infinite value", {"tid": "d", "ops": [["__p", "1.0"], "inf"]}),
        ("daylight saving ends", {"tid": "time", "ops": [["__p", "1636264799.123456"], "1636264800.654321"]}),
        ("daylight saving begins", {"tid": "time", "ops": [["__p", "1615705199.123456"], "1615705200.654321"]}),
        ("deep", {"tid": "d", "ops": deep(60)}),
    ]
    for name, case in cases:
        for zone in ZONES:
            yield answered({"case": name, **json.loads(json.dumps(case)), "tz": zone}, with_queries=True)
    for wide_output in ["0", "1"]:
        os.environ["WIDE_OUTPUT"] = wide_output
        for name, ops in [("memory with timestamps", stamped), ("memory", memory)]:
            case = {"case": f"{name}, WIDE_OUTPUT={wide_output}", "wide_output": wide_output}
            case |= {"tid": "get_memory_mb", "ops": json.loads(json.dumps(ops)), "non_monotonic": 1, "tz": "UTC"}
            yield answered(case, with_queries=False)
    del os.environ["WIDE_OUTPUT"]


def deep(levels):
    return [[f"__f{i}", repr(float(i))] for i in range(levels)] + [repr(1000.0 - i) for i in range(levels)]


def named_strings():
    """Strings as HiQ and its users have written them: read, drawn, asked."""
    guide = (
        "t1^get_memory_mb,,0,54,5,0,1e-07,0#%n1*[None,inf,inf,0$0#[__predict,9942.6796875,10064.375,0$0#"
        "[__pdf,9942.6796875,10013.578125,0$0#][__txt,10013.578125,10175.28515625,0$0#[__det,10013.578125,"
        "10174.68359375,0$0#[__ort,10228.8984375,10357.7421875,0$0#]][__det,10174.68359375,10175.28515625,0$0#"
        "[__ort,10174.68359375,10175.28515625,0$0#]]][_ort_sess,10175.28515625,10255.44921875,0$0#]]]"
    )
    strings = {
        "guide": guide,
        "overhead": (
            "t1^time,,0,1,2,1,1e-07,38#{'overhead_start': 0, 'overhead': 125}%n1*[None,inf,inf,0$0#"
            "[__predict,1795167132.05445,1795167132.0566087,0$0#]]"
        ),
        "rendered before": "t1^time,,0,1,2,1,1e-07,0#%n1*[None,1.0,3.5,0$0#[__f0,1.0,3.5,0$0#]]",
        "own root": "t1^time,,0,1,2,1,1e-07,0#%n1*[__f0,1.0,3.0,0$0#[__f1,1.5,2.0,7$0#]]",
        "nested virtual roots": "t1^time,,0,1,2,1,1e-07,0#%n1*[None,inf,inf,0$0#[None,inf,inf,0$0#[__f,1.0,3.0,0$0#]]]",
        "numbers written otherwise": "t1^time,9,2,1,2,0,0.5,0#%n1*[None,inf,inf,0$0#[__f,1,3e2,12$0#][__g,-0.0,1E-5,0$0#]]",
    }
    for name, text in strings.items():
        row = {"case": name, "text": text, "reread": Tree(text).repr(), "ts": Tree(text).get_graph("_timestamp_")}
        if name != "nested virtual roots":
            row["graph"] = get_graph_from_string(text)
            row["durations"] = [
                [key, repr(get_duration_from_hiq_string(text, key))] for key in sorted(Tree(text).get_distinct_node_names())
            ]
        yield row


# --- numbers, times, log lines ------------------------------------------------------------------------------------


def float_cases(rng):
    """Bits of a double, and what Python prints for it."""
    special = [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308]
    special += [1e15, 1e16, 1e17, 123456789012345680.0, 9007199254740993.0, 1e-4, 1e-5, 0.00012345, 1e22, 1e23, 0.1, 0.3]
    special += [0.5, 1.5, 2.5, 0.125, 0.375, 0.0625, 0.00005, 0.00015, 2.0**-44, 2.0**60, 0.9995, 999.9995, 1.0005, -0.0004]
    values = special + [random_float(rng) for _ in range(FLOATS - len(special))]
    for value in values:
        bits = struct.unpack("<Q", struct.pack("<d", value))[0]
        yield [f"{bits:x}", repr(value), "%.2f" % value, "%.3f" % value, "%.4f" % value]


def random_float(rng):
    return rng.choice(
        [
            lambda: struct.unpack("<d", struct.pack("<Q", rng.getrandbits(64)))[0],
            lambda: rng.uniform(-1, 1) * 10 ** rng.uniform(-9, 19),
            lambda: rng.randrange(10**12) / 2 ** rng.randrange(1, 14),
            lambda: rng.uniform(1.6e9, 1.9e9),
            lambda: round(rng.uniform(-1000, 1000), rng.randrange(6)),
        ]
    )()


def time_cases(rng):
    near = [1636264800.0, 1615705200.0, 0.0, 816639732.0, 816639731.9999999, 4102444800.5, 1e10, 253402300799.0]
    near += [1636000000.9999996, 1636000000.9999994, 1636000000.0000005, 1636000000.5000005, 1636000000.0000015]
    # Exactly between two microseconds.
    near += [1636000000.0078125, 1636000000.0234375, 1636000000.9921875, 1636000000.9765625]
    moments = near + [rng.uniform(8.2e8, 4e9) for _ in range(500)] + [1636264800 + rng.uniform(-9000, 9000) for _ in range(100)]
    for zone in ZONES:
        with local_zone(zone):
            for moment in moments:
                if zone != "UTC" and moment > 2.5e11:
                    continue
                later = moment + 10 ** rng.uniform(-6, 5)
                if later < 253402300800:
                    yield [zone, repr(moment), repr(later), ts_to_dt(moment), ts_pair_to_dt(moment, later)]


def lmk_lines():
    for zone in ZONES:
        with local_zone(zone):
            for value, extra in [
                (1636000000.123456, {}), (84.6875, {}), (1636000000.123456, {"args": "int(1)"}),
                (84.6875, {"time": 1636000000.5, "k": "v"}),
            ]:  # fmt: skip
                for name in ["__main", "x"]:
                    for is_start in [True, False]:
                        data = {"id_": "time", "name": name, "value": value, "extra": extra, "is_start": is_start}
                        line = lmk_data_handler(data=data, pid=4711)
                        yield {**data, "value": repr(value), "extra": pairs(extra), "tz": zone, "pid": 4711, "line": line}


if __name__ == "__main__":
    main(sys.argv[1])
