import hiq
from clock import scripted, seconds

clock, load = seconds(*range(40)), scripted("load", *range(0, 400, 7))
driver = hiq.HiQLatency([], metric_funcs=[clock, load])
driver.pre_processing("__outer", (1, 2), {}, tree_extra={"note": "by hand"})
driver.pre_processing("__inner")
driver.post_processing("__inner")
driver.post_processing("__outer")
try:
    driver.pre_processing("__broken")
    driver.handle_exception("__broken", KeyError("k"))
except KeyError as error:
    print("raised", error)
tree = driver.get_tree(clock)
tree.start("__mine", 1636000050.5)
tree.end("__mine", 1636000051.5)
driver.show(show_key=True)
print(list(driver.tau[None]), sorted(driver.get_tree(load).get_distinct_node_names()))
