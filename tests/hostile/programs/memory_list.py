# trick: fills the memory with a list
# outcome: out of memory
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    held = []
    while True:
        held.append([0] * 100_000)
