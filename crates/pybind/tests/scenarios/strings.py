import hiq

tree = (
    "t1^get_memory_mb,,0,54,5,0,1e-07,0#%n1*[None,inf,inf,0$0#[__predict,9942.6796875,10064.375,0$0#"
    "[__pdf,9942.6796875,10013.578125,0$0#][__txt,10013.578125,10175.28515625,0$0#[__det,10013.578125,10174.68359375,0$0#"
    "[__ort,10228.8984375,10357.7421875,0$0#]][__det,10174.68359375,10175.28515625,0$0#"
    "[__ort,10174.68359375,10175.28515625,0$0#]]][_ort_sess,10175.28515625,10255.44921875,0$0#]]]"
)
print(hiq.get_graph_from_string(tree))
print(hiq.get_graph_from_string(tree, with_ordered_node=False))
latency = "t1^time,,0,2,3,1,1e-07,38#{'overhead_start': 0, 'overhead': 125}%n1*[None,inf,inf,0$0#[__predict,1636000000.123456,1636000004.5,0$0#[__f,1636000001.25,1636000002.75,0$0#]]]"
print(hiq.get_graph_from_string(latency, time_format=hiq.FORMAT_DATETIME))
for key in ("__txt", "__ort", "__predict"):
    print(hiq.get_duration_from_hiq_string(tree, key))
try:
    hiq.get_duration_from_hiq_string(tree, "nobody")
except ValueError as error:
    print(str(error)[:40])
made = hiq.Tree(tid="time", extra={"img": "a.jpg"})
made.start("__main", 1636000000.123456, {"args": "int(1)"})
made.start("__f", 1636000001.5)
made.end("__f", 1636000002.5, {"end": "note"})
made.end("__main", 1636000004.123456)
print(made.repr(), made, made == hiq.Tree(made.repr()))
made.consolidate()
print(made.repr(), made.get_root(), made.get_root().nodes)
made.show()
