# trick: returns a list of numbers that no one can write out, so that the report fails
# outcome: wrong answer
# detail: object of list
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    return [-1 << 100_000, 1 << 100_001, 1 << 100_002]
