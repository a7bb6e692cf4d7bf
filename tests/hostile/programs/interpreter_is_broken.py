# trick: overwrites the type of None, so that the interpreter crashes as soon as it can
# outcome: crashed or exited early
# tiers: bwrap namespaces landlock rlimits
import ctypes


def f(xs):
    ctypes.memset(id(type(None)), 0, 64)
    return [None] * 3
