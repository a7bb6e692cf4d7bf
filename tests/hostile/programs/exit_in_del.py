# trick: ends the process in a destructor that runs after the call
# outcome: exited early
# detail: exit code 0
# tiers: bwrap namespaces landlock rlimits
import os


class Last:
    def __del__(self):
        os._exit(0)


def f(xs):
    last = Last()
    return [last and 1]
