# trick: adds a hook that stops all that the interpreter does from now on
# outcome: wrong answer or exception or exited early
# tiers: bwrap namespaces landlock rlimits
import sys


def hook(event, arguments):
    raise SystemExit(0)


def f(xs):
    sys.addaudithook(hook)
    return open
