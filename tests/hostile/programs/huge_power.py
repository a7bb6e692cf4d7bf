# trick: computes a number of a hundred million digits
# outcome: timeout
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    return [10 ** (10**8 + len(xs))]
