import hiq
import shop
from clock import seconds

driver = hiq.HiQLatency(
    [
        ["shop", "", "nope", "nope"],
        ["shop", "Store", "nope", "nope2"],
        ["shop", "Nope", "get", "nope3"],
        ["shop", "", "constant", "constant"],
        ["#shop", "", "main", "main"],
        ["shop", "", "func2", "f2"],
        ["shop", "", "func2", "again"],
        ("shop", "", "func3", "__f3"),
    ],
    metric_funcs=[seconds(*range(20))],
)
print(shop.main())
driver.show()
print(driver.count, driver.enabled, driver.hiq_quadruple)

for bad in [
    [["shop", "", "main"]],
    [["shop", "", "main", "a b"]],
    [["shop", "", "main", "main"], ["shop", "", "func1", "main"]],
    [["shop", "", "main", ""]],
    [[]],
]:
    try:
        hiq.HiQLatency(bad)
    except ValueError:
        print("ValueError")
for bad in [(1, 2), {"a": 1}, "no_such_file.conf"]:
    try:
        hiq.HiQLatency(bad)
    except Exception as error:
        print(error)
