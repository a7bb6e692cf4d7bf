# trick: sends a value that refers to nodes that do not exist
# outcome: forbidden action
# detail: broke the protocol
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


def f(xs):
    channel.send({"value": {"nodes": [["list", [[-1], [99]]]], "item": [0]}})
    return xs
