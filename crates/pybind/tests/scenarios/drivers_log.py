"""The log of calls, in which HiQ's lines come from a process of their own: written past both programs' buffers."""

import os
import time

os.environ["LMK"] = "1"

import hiq
import shop
from clock import scripted, seconds


class Out:
    @staticmethod
    def info(line):
        os.write(1, f"{line}\n".encode())


def line(data, pid):
    assert pid > 0
    if data["is_start"]:
        # HiQ's queue may have been slow enough to see the end of the call in the message of its start.
        data["extra"].pop("exception_summary", None)
    return f"{sorted(data)} {data['is_start']} " + hiq.lmk_data_handler(data, pid=7)


rows = [
    ["shop", "", "main", "main"],
    ["shop", "", "func1", "f1"],
    ["shop", "", "func2", "f2"],
    ["shop", "", "func3", "f3"],
]
memory = scripted("get_memory_mb", 84.25, 84.25, 90.0, 91.5, 91.5, 91.5, 100.75, 100.75)
drivers = [
    hiq.HiQLatency(
        rows,
        metric_funcs=[seconds(*range(8)), memory],
        extra_metrics={hiq.ExtraMetrics.ARGS},
        lmk_handler=line,
        lmk_logger=Out,
    )
]
shop.main()
drivers[0].disable_hiq()


def wait_for_hiqs_process():
    queue = drivers[-1].queue_lmk
    if queue is not None:
        while queue.qsize():
            time.sleep(0.01)
        time.sleep(0.5)


wait_for_hiqs_process()
drivers.append(
    hiq.HiQLatency(
        [["shop", "", "fails", "fails"], ["shop", "", "inner", "x"], ["shop", "", "main", "main"]],
        metric_funcs=[seconds(*range(20))],
        lmk_handler=line,
        lmk_logger=Out,
    )
)
for call in (shop.fails, shop.main):
    try:
        call()
    except ValueError as error:
        assert str(error) == "an_exception"
wait_for_hiqs_process()
