# trick: replaces its own code after the first call
# outcome: wrong answer
# detail: it gave 'first'
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    f.__code__ = (lambda xs: []).__code__
    globals()["f"] = lambda xs: []
    return "first"
