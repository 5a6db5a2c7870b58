import hiq
import shop
from clock import seconds

before = dict(vars(shop)), dict(vars(shop.Store))
driver = hiq.HiQLatency(
    [["shop", "", "main", "main"], ["shop", "Store", "get", "get"], ["shop", "Store", "find", "find"]],
    metric_funcs=[seconds(*range(20))],
)
print(shop.main(5), shop.Store().get("k"))
driver.show()
driver.disable_hiq(reset_trace=True)
print((dict(vars(shop)), dict(vars(shop.Store))) == before, driver.empty())
print(driver.enable_hiq(reset_trace=True) is driver, driver.enable_hiq() is driver)
print(shop.main(5))
driver.show()
with driver as same:
    print(same is driver)
print(driver.enabled, (dict(vars(shop)), dict(vars(shop.Store))) == before)
