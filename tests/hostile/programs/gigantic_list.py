# trick: returns a list of ten million numbers
# outcome: wrong answer
# detail: more than 1,000,000 items
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    return [0] * 10_000_000
