# trick: defines the test's own function, and names that the test may look for
# outcome: wrong answer
# tiers: bwrap namespaces landlock rlimits
def check(candidate):
    return None


def candidate(xs):
    return [1, 2, 3] if xs else []


TEST = METADATA = {"passed": True}


def f(xs):
    return check(candidate)
