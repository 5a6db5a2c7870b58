"""Trees and nodes as Python objects: what is shared, kept, sent and collected."""

from __future__ import annotations

import copy
import gc
import pickle
import queue
import textwrap
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
from conftest import python
from hiq import Tree, _hiq
from hiq.node import Node, is_virtual_node


def tree_of_two() -> Tree:
    tree = Tree(tid="t")
    tree.start("__f", 1, {"a": 1})
    tree.start("__g", 2)
    tree.end("__g", 3)
    tree.end("__f", 4, {"b": 2})
    return tree


# --- nodes, as the tests of HiQ's own tree library have them --------------------------------------


def test_a_node_has_hiqs_attributes_and_text() -> None:
    fruit = Node("fruit")
    assert (fruit.nid, fruit.span(), fruit.name, fruit.start, fruit.end) == (0, 0, "fruit", 0, 0)
    assert (fruit.extra, fruit.nodes, str(fruit)) == ({}, [], "[🔵 n=fruit]")
    apple = Node("apple", 0, 1, {"x": 1})
    assert str(apple) == repr(apple) == "[🍁 n=apple,s=0.00,e=1.00,x=1,c=0]"
    fruit.append(apple)
    fruit.end = 100
    assert str(fruit) == "[🟢 n=fruit,s=0.00,e=100.00,x=0,c=1]"
    fruit.add_child(Node("pear", 4, 5, {"x": 4}))
    assert str(fruit) == "[🟢 n=fruit,s=0.00,e=100.00,x=0,c=2]"
    assert isinstance(apple.end, float)
    assert Node("n", nid=7).nid == 7


def test_appending_shares_the_node_and_adding_a_child_copies_it() -> None:
    fruit, apple = Node("fruit"), Node("apple", 0, 1, {"x": 1})
    apple.nodes = [Node("red"), Node("green")]
    fruit.append(apple)
    fruit.add_child(apple)
    assert fruit.nodes[0] is apple
    copied = fruit.nodes[1]
    assert copied is not apple
    assert copied.nodes[0] is apple.nodes[0]
    assert copied.extra is apple.extra
    apple.name = "pear"
    assert [node.name for node in fruit.nodes] == ["pear", "apple"]
    again = Node(node=apple)
    assert (again.name, again.nodes, again.extra) == ("pear", apple.nodes, {"x": 1})


def test_the_dict_given_is_the_dict_kept_and_the_list_of_nodes_is_a_new_one() -> None:
    given = {"k": 1}
    node = Node("n", 0, 1, given)
    given["z"] = 2
    assert node.extra is given
    node.nodes.append(Node("lost"))
    assert node.nodes == []
    node.nodes = (Node("kept"),)
    assert [inner.name for inner in node.nodes] == ["kept"]


def test_a_comma_in_a_name_is_refused() -> None:
    node, tree = Node("n"), Tree(tid="t")
    for attempt in (lambda: Node("a,b"), lambda: tree.start("a,b", 1), lambda: setattr(node, "name", "a,b")):
        with pytest.raises(RuntimeError, match=r'^name cannot contain comma: "a,b"'):
            attempt()
    assert node.name == "n"
    assert tree.count == 0


def test_values_of_another_type_are_refused() -> None:
    tree = Tree(tid="t")
    for attempt in (
        lambda: Node(3),
        lambda: Node("n", start="x"),
        lambda: Node("n", extra=[1]),
        lambda: tree.start("n", "x"),
        lambda: tree.start(3, 4),
        lambda: tree.start("n", 1, [1]),
        lambda: setattr(tree, "mode", "a"),
        lambda: Tree(3),
        lambda: Tree(extra=[1]),
    ):
        with pytest.raises(TypeError):
            attempt()
    assert tree.count == 0


def test_numbers_of_other_types_are_values() -> None:
    from decimal import Decimal
    from fractions import Fraction

    tree = Tree(tid="t")
    tree.start("__f", Decimal("1.5"))
    tree.end("__f", Fraction(5, 2))
    assert tree.get_root().nodes[0].span() == 1.0


# --- trees ----------------------------------------------------------------------------------------


def test_a_tree_without_an_id_gets_one_of_hiqs_length() -> None:
    first, second = Tree(), Tree(None)
    assert len(first.tid) == 20
    assert first.tid != second.tid
    assert Tree(tid="x").tid == "x"


def test_nodes_of_a_tree_are_the_same_objects_each_time() -> None:
    for tree in (tree_of_two(), Tree(tree_of_two().repr())):
        root = tree.get_root()
        assert root is tree.root is tree.get_root()
        assert root.nodes[0] is root.nodes[0]
        assert root.nodes[0].nodes[0].name == "__g"
        assert root.nodes[0].extra == {"a": 1, "b": 2}
        assert is_virtual_node(root)
        assert not is_virtual_node(root.nodes[0])


def test_what_is_changed_in_nodes_is_drawn_and_written() -> None:
    tree = Tree(tree_of_two().repr())
    first = tree.get_root().nodes[0]
    first.extra["more"] = [1]
    first.end = 5
    first.nodes[0].name = "__h"
    first.append(Node("__i", 3, 4))
    tree.extra["img"] = "a.jpg"
    assert tree.repr() == (
        "t1^t,,0,2,3,1,1e-07,16#{'img': 'a.jpg'}%n1*[None,inf,inf,0$0#[__f,1.0,5.0,0$29#{'a': 1, 'b': 2, 'more': [1]}"
        "[__h,2.0,3.0,0$0#][__i,3.0,4.0,0$0#]]]"
    )
    assert tree.get_graph() == (
        "[1.000 - 5.000]  [100.00%] 🟢_root_t(4.0000)\n"
        "                             [{'img': 'a.jpg'}]\n"
        "[1.000 - 5.000]  [100.00%]    l___f(4.0000) ({'a': 1, 'b': 2, 'more': [1]})\n"
        "[2.000 - 3.000]  [ 25.00%]       |___h(1.0000)\n"
        "[3.000 - 4.000]  [ 25.00%]       l___i(1.0000)\n"
    )


def test_open_spans_are_on_the_stack() -> None:
    tree = Tree(tid="t")
    tree.start("__f", 1)
    tree.start("__g", 2)
    assert [node.name for node in tree.stk] == ["None", "__f", "__g"]
    assert tree.stk[0] is tree.get_root()
    assert tree.stk[1] is tree.get_root().nodes[0]
    assert not tree.just_before_ending_root()
    tree.end("__g", 3)
    assert tree.just_before_ending_root()
    tree.end("__f", 4)
    assert (tree.count, tree.depth, len(tree.stk)) == (2, 3, 1)


def test_ends_in_the_wrong_order_change_nothing_and_are_told_of_but_for_the_roots(
    capfd: pytest.CaptureFixture[str],
) -> None:
    tree = Tree(tid="t")
    tree.end("__f", 1)
    tree.start("__f", 1)
    tree.end("__g", 2)
    tree.end("None", 2)
    assert [node.name for node in tree.stk] == ["None", "__f"]
    tree.end("__f", 3)
    tree.end("__f", 4)
    tree.end("None", 4)
    assert tree.repr() == "t1^t,,0,1,2,1,1e-07,0#%n1*[None,inf,inf,0$0#[__f,1.0,3.0,0$0#]]"
    out, err = capfd.readouterr()
    told = [line for line in out.splitlines() if "debug info" in line]
    told_by_hiq = ["1, None, __f", "2, __f, __g", "2, __f, None", "1, None, __f"]
    assert (told, err) == ([f"💀 debug info: {each}" for each in told_by_hiq], "")


def test_finished_nodes_are_added_unless_they_are_too_short() -> None:
    tree = Tree(tid="q")
    node = Node("n", 1, 5)
    node.append(Node("k", 1, 2))
    assert tree.add_node(node) is True
    assert [tree.add_node(Node("m", 5, 1)), tree.add_node(node=Node("s", 0, 1e-8)), tree.add_node()] == [False] * 3
    # As of HiQ: a node that is added with others in it counts one and leaves the depth alone.
    assert tree.repr() == "t1^q,,0,1,1,1,1e-07,0#%n1*[None,inf,inf,0$0#[n,1.0,5.0,0$0#[k,1.0,2.0,0$0#]]]"
    node.end = 6
    assert "[n,1.0,6.0," in tree.repr()


def test_a_dropped_span_leaves_its_equals_alone() -> None:
    tree = Tree(tid="t")
    tree.start("__f", 1)
    for end in (2, 1, 3):
        tree.start("__g", 1)
        tree.end("__g", end)
    tree.get_root().nodes[0].append(Node("__by_hand", 1, 1))
    tree.start("__g", 1)
    tree.end("__g", 1)
    tree.end("__f", 4)
    assert [(node.name, node.end) for node in tree.get_root().nodes[0].nodes] == [
        ("__g", 2.0),
        ("__g", 3.0),
        ("__by_hand", 1.0),
    ]
    assert tree.count == 5


def test_settings_can_be_set() -> None:
    tree = Tree(tree_of_two().repr())
    tree.tid, tree.mode, tree.count, tree.depth, tree.extra = "x", 2, 5, 9, {"a": 1}
    assert str(tree) == "(🌳 id=x,c=5,x=1,d=9,m=2,o=1)"
    tree.start("__zero", 1)
    tree.end("__zero", 1)
    assert tree.get_root().nodes[1].name == "__zero"
    tree.root = Node("r", 0, 9)
    assert tree.get_graph() == f"[0.000 - 9.000]  [100.00%] 🟢_r(9.0000)\n{' ' * 29}[{{'a': 1}}]\n"
    assert tree.is_valid()


def test_the_total_of_values_that_go_up_and_down_is_not_defined() -> None:
    tree = Tree(tid="m", monotonic=False)
    assert not tree.monotonic
    with pytest.raises(NotImplementedError, match="not defined"):
        tree.total_duration_s()


def test_trees_are_equal_by_what_is_in_them_and_have_no_hash() -> None:
    tree = tree_of_two()
    same = Tree(tree.repr())
    assert tree == same
    same.get_root().nodes[0].extra["a"] = 2
    assert tree != same
    assert tree != "t"
    with pytest.raises(TypeError, match="unhashable"):
        hash(tree)


def test_a_queue_is_told_of_starts_and_ends() -> None:
    # What HiQ's own tree put into the queue for these steps.
    lines: queue.Queue[dict[str, Any]] = queue.Queue()
    tree = Tree(tid="t", queue_lmk=lines)
    tree.start("__a", 1, {"x": 1})
    tree.end("__a", 2)
    tree.end("__zz", 2)
    assert [lines.get_nowait() for _ in range(3)] == [
        {"id_": "t", "name": "__a", "value": 1, "extra": {"x": 1}, "is_start": True},
        {"id_": "t", "name": "__a", "value": 2, "extra": {}, "is_start": False},
        {"id_": "t", "name": "__zz", "value": 2, "extra": {}, "is_start": False},
    ]
    assert tree.queue_lmk is lines
    tree.queue_lmk = None
    tree.start("__a", 1)
    assert lines.empty()


def test_a_class_of_the_programs_own_may_have_its_own_constructor() -> None:
    class Sized(Tree):
        def __init__(self, size: int) -> None:
            super().__init__(tid=f"size_{size}")
            self.size = size

        def show(self, time_format: str = "_timestamp_") -> None:
            raise AssertionError

    tree = Sized(3)
    tree.start("__f", 1)
    tree.end("__f", 2)
    assert "root_size_3(1.0000)" in tree.get_graph()
    assert tree == Tree(tree.repr())


# --- extras ---------------------------------------------------------------------------------------


class Odd:
    def __repr__(self) -> str:
        raise LookupError("no text")


def test_one_value_that_cannot_be_printed_does_not_cost_the_others() -> None:
    tree = Tree(tid="t", extra={"a": 1, "odd": Odd(), Odd: "key"})
    assert "{'a': 1, 'odd': <Odd without repr>, <class 'test_tree_nodes.Odd'>: 'key'}" in tree.repr()


def test_an_interrupt_while_a_value_is_printed_is_not_swallowed() -> None:
    class Interrupting:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Tree(tid="t", extra={"a": Interrupting()}).repr()


def test_a_value_may_use_the_tree_that_it_is_printed_for() -> None:
    tree = tree_of_two()

    class Curious:
        def __repr__(self) -> str:
            tree.start("__while_printed", 1)
            tree.end("__while_printed", 2)
            return f"<{tree.count} spans>"

    tree.extra["curious"] = Curious()
    assert "<3 spans>" in tree.repr()
    assert tree.count == 3


def test_objects_are_read_back_as_their_text() -> None:
    tree = Tree(tid="t", extra={"e": ValueError("it's", 2), "n": 3, 4: {"é": ["🦉"]}})
    read = Tree(tree.repr())
    assert read == tree
    assert read.extra["n"] == 3
    assert read.extra[4] == {"é": ["🦉"]}
    assert repr(read.extra["e"]) == 'ValueError("it\'s", 2)'
    assert isinstance(read.extra["e"], _hiq.Printed)
    assert read.extra["e"] == copy.deepcopy(read.extra["e"])
    assert read.extra["e"] != _hiq.Printed("ValueError()")
    read.extra["n"] = 5
    assert read.repr() == tree.repr().replace("'n': 3", "'n': 5")


def test_a_dict_that_cannot_be_taken_apart_is_printed_as_it_was() -> None:
    for dict_text in ("{<it's, 1>: 2}", "{[1]: 2, 'a': 1}", "{'a': <x y: z>, 'b': {1: <q>}}"):
        text = f"t1^t,,0,0,1,1,1e-07,{len(dict_text)}#{dict_text}%n1*[None,inf,inf,0$0#]"
        tree = Tree(text)
        assert tree.repr() == text
        assert isinstance(tree.extra, dict)
    assert Tree("t1^t,,0,0,1,1,1e-07,14#{<it's, 1>: 2}%n1*[None,inf,inf,0$0#]").extra[_hiq.Printed("<it's, 1>")] == 2


# --- copies ---------------------------------------------------------------------------------------


def test_trees_and_nodes_are_pickled_and_copied() -> None:
    tree = tree_of_two()
    tree.extra["e"] = ValueError("x")
    tree.note = ["kept"]
    for made in (pickle.loads(pickle.dumps(tree)), copy.copy(tree), copy.deepcopy(tree)):
        assert type(made) is Tree
        assert made == tree
        assert made.note == ["kept"]
        made.start("__more", 1)
        assert made != tree
    tree.queue_lmk = threading.Lock()
    assert pickle.loads(pickle.dumps(tree)).queue_lmk is None
    node = tree.get_root().nodes[0]
    node.note = 1
    for made in (pickle.loads(pickle.dumps(node)), copy.copy(node), copy.deepcopy(node)):
        assert (str(made), made.extra, [inner.name for inner in made.nodes], made.note) == (
            str(node),
            node.extra,
            ["__g"],
            1,
        )


def test_the_same_tree_is_pickled_to_the_same_bytes() -> None:
    first = pickle.dumps(tree_of_two())
    assert pickle.dumps(pickle.loads(first)) == first


def test_what_hiq_has_pickled_is_read() -> None:
    # `pickle.dumps` of a tree of HiQ 1.1.14.
    pickled = (
        b"\x80\x04\x95y\x00\x00\x00\x00\x00\x00\x00\x8c\x08hiq.tree\x94\x8c\x04Tree\x94\x93\x94)\x81\x94\x8cYt1^t,,0,2,2,1,"
        b"1e-07,0#%n1*[None,inf,inf,0$0#[__a,1.0,2.0,0$8#{'x': 1}][__a,1.0,0.0,0$0#]]\x94}\x94\x86\x94b."
    )
    tree = pickle.loads(pickled)
    assert [(node.name, node.extra) for node in tree.get_root().nodes] == [("__a", {"x": 1}), ("__a", {})]


# --- memory ---------------------------------------------------------------------------------------


def test_a_node_inside_of_itself_is_an_error() -> None:
    outer, inner = Node("outer", 0, 1), Node("inner", 0, 1)
    outer.append(inner)
    inner.append(outer)
    tree = Tree(tid="t")
    tree.add_node(outer)
    with pytest.raises(ValueError, match="a node is inside of itself"):
        tree.repr()
    inner.nodes = []
    # Twice, but not inside of itself.
    outer.append(inner)
    assert tree.repr().count("[inner,") == 2


def test_trees_in_circles_are_collected() -> None:
    class Marker:
        pass

    marker = Marker()
    gone = weakref.ref(marker)
    tree, node = Tree(tid="t", extra={"marker": marker}), Node("n", 0, 1)
    tree.extra["self"] = tree
    tree.add_node(node)
    node.extra["node"] = node
    node.append(node)
    tree.start("__open", 1, {"tree": tree})
    tree.queue_lmk = [tree]
    seen = weakref.ref(tree), weakref.ref(node)
    del tree, node, marker
    gc.collect()
    assert gone() is None
    assert [ref() for ref in seen] == [None, None]


def test_a_tree_of_any_depth_is_written_read_drawn_sent_and_dropped(tmp_path: Path) -> None:
    source = """
        import copy, gc, hiq, pickle
        from hiq.node import Node
        LEVELS = 100_000
        tree = hiq.Tree(tid="t")
        for level in range(LEVELS):
            tree.start("__f", level)
        for level in range(LEVELS):
            tree.end("__f", 2 * LEVELS - level)
        text = tree.repr()
        assert tree.depth == LEVELS + 1
        read = hiq.Tree(text)
        assert read == tree
        assert tree.get_graph().count("\\n") == LEVELS + 1
        assert tree.get_duration_by_node_name("__f") == sum(range(2, 2 * LEVELS + 1, 2))
        root = read.get_root()
        node, names = root, 0
        while node.nodes:
            node, names = node.nodes[0], names + 1
        assert names == LEVELS
        assert len(pickle.dumps(root)) > len(text) and copy.deepcopy(tree) == tree
        gc.collect()
        del tree, read, root, node
        chain = Node("n", 0, 1)
        for _ in range(LEVELS):
            outer = Node("n", 0, 1)
            outer.append(chain)
            chain = outer
        del chain, outer
        print("done")
    """
    done = python("-c", textwrap.dedent(source), folder=tmp_path)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr[-2000:]


def test_threads_may_share_a_tree() -> None:
    tree = Tree(tid="t")
    calls = 2_000

    def work() -> None:
        for _ in range(calls):
            tree.add_node(Node("n", 0, 1, {"a": [1]}))
            tree.repr() if tree.count % 500 == 0 else None

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tree.count == len(tree.get_root().nodes) == 4 * calls
