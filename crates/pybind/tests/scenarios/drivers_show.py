import hiq
from clock import seconds

rows = [
    ["shop", "", "main", "main"],
    ["shop", "", "func1", "f1"],
    ["shop", "", "func2", "f2"],
    ["shop", "", "func3", "x"],
]
# HiQ's second drawing of a tree lacks what its first one took away: each is drawn once.
for shown in ({}, {"show_key": True}, {"time_format": "_timestamp_"}, {"ignore_empty_tree": True, "show_key": True}):
    driver = hiq.HiQLatency(rows, metric_funcs=[seconds(0, 0.5, 1, 1.25, 2, 2.5, 3, 4)])
    print(hiq.mod("shop").main())
    driver.show(**shown)
    driver.disable_hiq()
driver.enable_hiq()
print(driver.get_k0s(), driver.get_k0s_summary(), driver.empty(), driver.count)
print(driver.hiq_quadruple)
print(len(driver.get_metrics()), driver.get_metrics_by_k0("nobody"))
for asked in (driver.get_metrics, lambda key: driver.get_metrics_by_k0(None, key)):
    try:
        asked("unknown")
    except KeyError as error:
        print(type(error).__name__, error)
print(list(driver.tau), list(driver.tau[None]), driver.enabled)
driver.disable_hiq()
print(hiq.mod("shop").main(), driver.enabled)
driver.enable_hiq()
driver.disable_hiq(reset_trace=True)
print(driver.empty())
driver.show()
