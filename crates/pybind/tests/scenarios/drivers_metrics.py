import hiq
import shop
from clock import scripted, seconds

rows = [
    ["shop", "", "main", "main"],
    ["shop", "", "func1", "f1"],
    ["shop", "", "func2", "f2"],
    ["shop", "", "func3", "f3"],
]
memory = scripted("get_memory_mb", 84.25, 84.25, 90.0, 91.5, 91.5, 91.5, 100.75, 100.75)
count = scripted("items", 1, 2, 3, 3, 4, 4, 2, 7)
driver = hiq.HiQLatency(rows, metric_funcs=[seconds(*range(8)), memory, count])
shop.main()
driver.show(show_key=True)
print(list(driver.tau[None]))
for key in ("time", "get_memory_mb", "items"):
    print(driver.get_k0s_summary(key), sorted(driver.get_metrics(metrics_key=key)[0].get_distinct_node_names()))
driver.get_metrics("get_memory_mb")[0].show()
