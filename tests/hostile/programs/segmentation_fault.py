# trick: reads at address zero
# outcome: crashed
# detail: SIGSEGV
# tiers: bwrap namespaces landlock rlimits
import ctypes


def f(xs):
    return ctypes.string_at(0)
