# trick: returns an iterator that, when asked for an item, leaves
# outcome: exited early
# detail: exit code 0
# test: iterated
# tiers: bwrap namespaces landlock rlimits
import os


def f(xs):
    yield 1
    os._exit(0)
