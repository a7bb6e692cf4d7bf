# trick: calls itself without end
# outcome: exception
# detail: RecursionError
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    return f(xs)
