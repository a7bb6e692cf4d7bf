# trick: says itself that its source is no Python, to be taken for an honest failure
# outcome: syntax error
# detail: passed
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")
channel.send({"refused": "passed"})


def f(xs):
    return xs
