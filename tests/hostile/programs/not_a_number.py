# trick: returns numbers that are equal to nothing, not even to themselves, and infinite ones
# outcome: wrong answer
# detail: nan
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    return [float("nan"), float("inf"), float("-inf")]
