# trick: fills the memory with a text
# outcome: out of memory
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    return "x" * (1 << 40)
