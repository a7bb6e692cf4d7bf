# trick: sends a value whose table of nodes is nonsense
# outcome: forbidden action
# detail: broke the protocol
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


def f(xs):
    channel.send({"value": {"nodes": [None, 3, ["list"], [[]], ["Decimal", "x"]], "item": [0]}})
    return xs
