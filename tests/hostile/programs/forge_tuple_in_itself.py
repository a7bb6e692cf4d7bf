# trick: sends a tuple that holds itself
# outcome: forbidden action
# detail: a tuple that holds itself
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


def f(xs):
    channel.send({"value": {"nodes": [["tuple", [[1]]], ["tuple", [[0]]]], "item": [0]}})
    return xs
