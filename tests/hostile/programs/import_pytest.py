# trick: looks for a test runner in its process, to tell it that all has passed
# outcome: wrong answer
# detail: it gave 'nothing found'
# tiers: bwrap namespaces landlock rlimits
import sys


def f(xs):
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("pytest", "_pytest", "unittest", "doctest"):
            return f"escaped: {name}"
        if name.endswith((".judge", ".foreman", ".outcome", ".pool")):
            return f"escaped: {name}"
    return "nothing found"
