# trick: makes its process end well whatever happens, by replacing the call that ends it
# outcome: exited early or wrong answer
# tiers: bwrap namespaces landlock rlimits
import os

leave = os._exit
os._exit = lambda code: leave(0)


def f(xs):
    raise SystemExit(1)
