# trick: has the garbage collector call it, in whatever is going on then
# outcome: exited early or wrong answer
# tiers: bwrap namespaces landlock rlimits
import gc
import os


def collected(phase, info):
    os._exit(0)


def f(xs):
    gc.callbacks.append(collected)
    gc.set_threshold(1, 1, 1)
    return [[i] for i in range(100)]
