import os

import hiq
from hiq.hiq_utils import func_args_handler, get_hiq_table, read_csv_to_list
from hiq.utils import get_env_bool, pretty_time_delta, ts_pair_to_dt, ts_to_dt


class Sized:
    def __len__(self):
        return 7


class Plain:
    def __str__(self):
        return "plain!"


values = (
    1,
    2.5,
    True,
    None,
    "x" * 101,
    "short",
    b"abc",
    [],
    list(range(11)),
    list(range(12)),
    [[1, [2, [3]]], "é"],
    {},
    {"a": 1, "b": "two"},
    {"a": 1, "b": 2, "c": [1, {"d": 2}], "e": 3},
    (1, 2),
    {1, 2},
    Sized(),
    Plain(),
    range(3),
)
for value in values:
    print(func_args_handler((value,)), func_args_handler({"k": value}))
print(func_args_handler(values[:4]), func_args_handler((), "f"), func_args_handler({}))
try:
    func_args_handler([1])
except ValueError as error:
    print(error)

for moment in (0, 816639731.9, 816639732, 1636000000.123456, 1636000000):
    print(ts_to_dt(moment))
print(ts_pair_to_dt(1636000000.1, 1636000001.25), "/", ts_pair_to_dt(1636070399.5, 1636070400.5))
for delta in (0, 59.9, 61, 3600, 90061, -125):
    print(pretty_time_delta(delta))
for text in ("", "0", "1", "False", "false", "no", "''", "[]", "None", "0.0", "2 +", "(1"):
    os.environ["SCENARIO"] = text
    print(repr(text), get_env_bool("SCENARIO"), get_env_bool("NOT_SET", True), get_env_bool("NOT_SET"))
os.environ["SCENARIO"] = "12"
print(
    hiq.get_env_int("SCENARIO"),
    hiq.get_env_float("SCENARIO"),
    hiq.get_env_int("NOT_SET", 4),
    hiq.get_env_float("NOT_SET"),
)

calls = []


@hiq.memoize
def square(x):
    calls.append(x)
    return x * x


@hiq.memoize_first
def first(x, y):
    calls.append((x, y))
    return x


print(square(3), square(3), first(1, 2), first(1, 3), calls, square.__name__)


class Single(hiq.SingletonBase):
    pass


print(Single() is Single())
print(hiq.str_to_filename(" a/b  c?.txt "), hiq.str_to_filename("x--y", "-", "txt"), len(hiq.random_str(5)))
print(hiq.ddjson('{"a b": 1, "c": [{"d": null}]}'), hiq.ddlist(["x"], [1]))
with open("table.json", "w") as file:
    file.write('[{"module": "m", "class": "C", "function": "f", "name": "n"}]')
with open("table.csv", "w") as file:
    file.write('"m", "", "f", "__n"\nm2,"C, D",g,t\n')
print(read_csv_to_list("table.csv"), read_csv_to_list("missing.csv"), get_hiq_table([["a"]]))
print(len(get_hiq_table("table.json")), len(get_hiq_table("table.csv")))
hiq.write_file("folder/out.txt", "one\ntwo\nthree")
print(hiq.read_file("folder/out.txt"), hiq.read_file("folder/out.txt", by_line=False, strip=True))
print(
    hiq.read_file("folder/out.txt", binary_mode=True),
    hiq.read_file("nothing"),
    hiq.read_file("table.json", as_json=True),
)
print(hiq.read_file("folder/out.txt", filter_func=lambda line: "t" in line), hiq.ensure_folder("folder/sub/file.txt"))
try:
    hiq.read_file("nothing", raise_=True)
except ValueError as error:
    print(error)
for function in (len, str.upper, hiq.memoize, Single, print, Plain().__str__):
    print(hiq.is_hiqed(function, function.__name__))
for extra in ({}, {"a": 1}, {"time": 1636000000.5, "b": 2}):
    for start in (True, False):
        data = {"id_": "time", "name": "__main", "value": 1636000001.5, "extra": extra, "is_start": start}
        print(hiq.lmk_data_handler(data, pid=7))
print(hiq.execute_cmd("echo one 'two three'", verbose=False), hiq.execute_cmd("echo a", split=False, verbose=False))
with hiq.SilencePrint():
    print("not seen")
print(hiq.mod("shop", "constant"), hiq.mod("shop", "nope", verbose=False), hiq.mod("no_such", verbose=False))
