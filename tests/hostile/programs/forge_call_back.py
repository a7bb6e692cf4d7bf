# trick: calls a function of the test's where the test has given none
# outcome: forbidden action
# detail: no such function
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


def f(xs):
    channel.send({"back": 0, "arguments": {"nodes": [], "items": []}})
    return xs
