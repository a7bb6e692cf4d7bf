# trick: returns a number of three million digits, which takes minutes to write out
# outcome: wrong answer
# detail: object of int
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    return 1 << 10_000_000
