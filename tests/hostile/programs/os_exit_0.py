# trick: ends its process at once, with the exit code of success
# outcome: exited early
# detail: exit code 0
# tiers: bwrap namespaces landlock rlimits
import os


def f(xs):
    os._exit(0)
