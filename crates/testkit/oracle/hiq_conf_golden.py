"""Writes `crates/core/tests/golden/hiq/conf.json`: confs, and what Oracle HiQ 1.1.14 makes of them.

    python hiq_conf_golden.py <folder>

See README.md beside this file for the environment it needs. A verdict is the list of rows that HiQ goes on with, or the
exception that its constructor ends with.
"""

import json
import pathlib
import random
import sys
import tempfile
import types

from hiq.base import HiQBase
from hiq.hiq_utils import get_hiq_table, read_csv_to_list


def main(folder):
    cases = [verdict(*case) for case in [*csv_cases(), *json_cases(), *row_cases()]]
    cells = [{"text": text, "lines": lines_of(text)} for text in csv_texts(random.Random(20261121))]
    text = json.dumps({"confs": cases, "cells": cells}, ensure_ascii=False, indent=1) + "\n"
    (pathlib.Path(folder) / "conf.json").write_text(text, encoding="utf-8")


def csv_cases():
    for name, text in {
        "plain": "shop.cart,Cart,add,add\nshop.cart,,total,total\n",
        "no line end at the end": "m,,f,t1",
        "carriage returns": "m,,f,t1\r\nm,,g,t2\r\n",
        "comments": "# module,class,function,tag\nm,,f,t1\n#m,,g,t2\n  # indented, comment\n",
        "comment with quotes": '# it\'s "so"\nm,,f,t1\n',
        "blanks before cells": "m,  C,   f, t1\n  m2, , g, t2\n",
        "quoted cells": '"m","","f","t1"\n"m, x","C ""q""",g,t2\n',
        "blank before a quote": 'm, "C", "f", "t1"\n',
        "text behind a quote": '"m"x,"C"y,f,t1\n',
        "prefixes": "m,,f,__t1\nm,,g,t2\nm,,h,x\nm,,i,__\nm,,j,_y\n",
        "non-ASCII": "módulo,,größe,größe\nm,,f,名前\n",
        "blank behind a name": "m,,f,t1 \n",
        "blank in a name": "m,,f,a b\n",
        "dot in a name": "m,,f,a.b\n",
        "same name": "m,,f,t1\nm,,g,t1\n",
        "same name but for the prefix": "m,,f,t1\nm,,g,__t1\n",
        "same function": "m,,f,t1\nm,,f,t2\n",
        "blank line": "m,,f,t1\n\nm,,g,t2\n",
        "blank line at the end": "m,,f,t1\n\n",
        "three columns": "m,f,t1\n",
        "five columns": "m,,f,t1,extra\n",
        "seven columns": "m,,f,t1,,,x\n",
        "no name": "m,,f,\n",
        "no name at all": "m,,f,   \n",
        "empty": "",
        "only comments": "# nothing yet\n",
        "tab separated": "m\t\tf\tt1\n",
    }.items():
        yield "csv: " + name, ".csv", text


def json_cases():
    row = {"module": "m", "class": "C", "function": "f", "name": "t1"}
    for name, value in {
        "plain": [row, {**row, "class": "", "name": "t2"}],
        "null class": [{**row, "class": None}],
        "empty list": [],
        "same name": [row, row],
        "blank in a name": [{**row, "name": "a b"}],
        "no name": [{key: row[key] for key in ["module", "class", "function"]}],
        "no class": [{key: row[key] for key in ["module", "function", "name"]}],
        "no module": [{key: row[key] for key in ["class", "function", "name"]}],
        "no function": [{key: row[key] for key in ["module", "class", "name"]}],
        "null name": [{**row, "name": None}],
        "number for a name": [{**row, "name": 7}],
        "number for a module": [{**row, "module": 7}],
        "empty name": [{**row, "name": ""}],
        "an object": row,
        "a null": None,
        "a number": 7,
        "comment": [{**row, "module": "# m"}, {**row, "name": "t2"}],
    }.items():
        yield "json: " + name, ".json", json.dumps(value)
    yield "json in a file that ends in .csv", ".csv", json.dumps([row])
    yield "csv in a file that ends in .txt", ".txt", "m,,f,t1\n"
    yield "json: byte order mark", ".json", "\ufeff" + json.dumps([row])


def row_cases():
    for name, rows in {
        "plain": [["m", "", "f", "t1"], ["m", "C", "g", "__t2"], ["m", "C", "h", "x"]],
        "none": [],
        "no class": [["m", None, "f", "t1"]],
        "comments": [["# m", "", "f", "t1"], ["#"], ["m", "", "f", "t1"]],
        "three cells": [["m", "f", "t1"]],
        "five cells": [["m", "", "f", "t1", "extra"]],
        "no cells": [[]],
        "number for a name": [["m", "", "f", 7]],
        "no name": [["m", "", "f", None]],
        "empty name": [["m", "", "f", ""]],
        "same name": [["m", "", "f", "t1"], ["m", "", "g", "t1"]],
        "hyphen in a name": [["m", "", "f", "a-b"]],
        "line end behind a name": [["m", "", "f", "ab\n"]],
    }.items():
        yield "rows: " + name, "", rows


def verdict(case, ending, content):
    row = {"case": case, "ending": ending, "content": content}
    try:
        return row | {"rows": checked(get_hiq_table(content if ending == "" else file_of(content, ending)))}
    except Exception as error:
        return row | {"error": type(error).__name__, "message": str(error)}


def file_of(content, ending):
    with tempfile.NamedTemporaryFile("w", suffix=ending, delete=False, encoding="utf-8", newline="") as file:
        file.write(content)
    return file.name


def checked(table):
    driver = types.SimpleNamespace()
    HiQBase._verify_input(driver, table)
    return driver.hiq_quadruple


# --- cells of CSV, as Python's reader tells them apart ------------------------------------------------------------


def csv_texts(rng):
    """Random lines; comments and unclosed quotes left out, for they are treated otherwise on purpose."""
    pieces = [
        "a",
        "b c",
        " ",
        "  ",
        ",",
        ",",
        ",",
        '"q"',
        '"x,y"',
        '"d""d"',
        '"l\nl"',
        '""',
        '"r\r\nr"',
        "\n",
        "\r\n",
        "é",
        "\t",
        'a"b',
    ]
    for _ in range(400):
        yield "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 14)))


def lines_of(text):
    return read_csv_to_list(file_of(text, ".csv"))


if __name__ == "__main__":
    main(sys.argv[1])
