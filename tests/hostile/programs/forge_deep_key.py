# trick: sends a set that holds a very deep tuple, whose hash exhausts the judge's stack
# outcome: crashed or exception or forbidden action
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


def f(xs):
    nodes = [["tuple", [[i + 1]]] for i in range(150_000)] + [["tuple", []]]
    channel.send({"value": {"nodes": [*nodes, ["set", [[0]]]], "item": [len(nodes)]}})
    return xs
