# trick: returns a set of numbers that all have one hash, which is slow to make
# outcome: wrong answer
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    prime = (1 << 61) - 1
    return {i * prime for i in range(2000)}
