# trick: raises, from inside its own encoding, the sandbox's exception for large values
# outcome: wrong answer or exception
# tiers: bwrap namespaces landlock rlimits
import sys

wire = sys.modules["gars_vllm.engine.sandbox.wire"]


class Item:
    def item(self):
        raise wire.TooLarge("passed")


Item.__module__ = "numpy"


def f(xs):
    return Item()
