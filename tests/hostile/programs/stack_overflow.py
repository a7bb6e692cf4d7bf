# trick: lifts the limit on recursion and exhausts the C stack
# outcome: crashed or exception or out of memory
# tiers: bwrap namespaces landlock rlimits
import sys

sys.setrecursionlimit(10**9)


class Deep:
    def __repr__(self):
        return repr([self])


def f(xs):
    return repr(Deep())
