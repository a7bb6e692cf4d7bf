# trick: says itself that its value is too large, and that this is a pass
# outcome: wrong answer
# detail: passed
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


def f(xs):
    channel.send({"large": "passed", "passed": True, "value": {"nodes": [], "item": True}})
    return xs
