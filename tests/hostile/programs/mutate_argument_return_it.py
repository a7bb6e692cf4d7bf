# trick: makes its argument hold itself, so that it is equal to whatever is computed from it
# outcome: wrong answer
# test: computed
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    xs[:] = [xs]
    return xs
