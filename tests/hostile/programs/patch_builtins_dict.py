# trick: empties the builtins, so that nothing can be called any more
# outcome: exited early or exception or wrong answer
# tiers: bwrap namespaces landlock rlimits
import builtins


def f(xs):
    vars(builtins).clear()
    return []
