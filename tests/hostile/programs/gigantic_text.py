# trick: returns a text of twenty megabytes
# outcome: wrong answer
# detail: a value of 20 MiB
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    return "x" * (20 << 20)
