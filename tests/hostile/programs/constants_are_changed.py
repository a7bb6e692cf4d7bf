# trick: changes the small numbers and the empty tuple of the interpreter
# outcome: wrong answer or crashed or exception or exited early
# tiers: bwrap namespaces landlock rlimits
import ctypes


def f(xs):
    size = object.__sizeof__(0)
    ctypes.memmove(id(2) + size, bytes(4), 4)
    return xs
