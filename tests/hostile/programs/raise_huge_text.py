# trick: raises an exception with a text of many megabytes
# outcome: exception
# detail: ValueError: xxx
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    raise ValueError("x" * (20 << 20))
