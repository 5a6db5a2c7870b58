import hiq
import shop
from clock import seconds

number = 0


def next_request():
    return f"req-{number}"


driver = hiq.HiQLatency(
    [["shop", "", "main", "main"]], metric_funcs=[seconds(*range(40))], hiq_id_func=next_request, max_hiq_size=2
)
for number in range(5):
    shop.main()
    print(list(driver.get_k0s()))
driver.show(show_key=True)
tree = driver.get_metrics_by_k0("req-4")
tree.consolidate()
print(tree.get_root(), driver.get_metrics_by_k0("req-0"))
