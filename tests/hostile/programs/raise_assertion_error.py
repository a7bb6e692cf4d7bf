# trick: raises AssertionError itself
# outcome: exception
# detail: AssertionError: passed
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    raise AssertionError("passed")
