import hiq
import shop
from clock import seconds

rows = [["shop", "", "fails", "fails"], ["shop", "", "inner", "inner"], ["shop", "", "main", "main"]]
driver = hiq.HiQLatency(rows, metric_funcs=[seconds(*range(20))])
try:
    shop.fails()
except ValueError as error:
    print("raised", error)
print(shop.main())
driver.show()
driver.disable_hiq()

driver = hiq.HiQLatency([["shop", "", "fails", "fails"]], metric_funcs=[seconds(*range(20))], fast_fail=False)
print("swallowed", shop.fails())
driver.show()
