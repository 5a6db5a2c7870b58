import hiq
import shop
from clock import seconds
from hiq.constants import ExtraMetrics

rows = [["shop", "", "main", "main"], ["shop", "", "func1", "f1"], ["shop", "Store", "find", "find"]]


def caller():
    return shop.main([1, "two", None])


for chosen in ({ExtraMetrics.ARGS}, {ExtraMetrics.FUNC}, {ExtraMetrics.FILE}, set(ExtraMetrics)):
    driver = hiq.HiQLatency(rows, metric_funcs=[seconds(*range(20))], extra_metrics=chosen, fast_fail=True)
    try:
        caller()
    except TypeError as error:
        print(error)
    shop.Store.find(None, key={"a": 1})
    driver.show()
    driver.disable_hiq()
