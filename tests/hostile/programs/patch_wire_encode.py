# trick: replaces the function that writes its results by one that writes "true"
# outcome: wrong answer
# detail: it gave True
# tiers: bwrap namespaces landlock rlimits
import sys

wire = sys.modules["gars_vllm.engine.sandbox.wire"]


def f(xs):
    wire.encode = lambda value, handle: {"nodes": [], "item": True}
    return xs
