# trick: returns and raises what stands for "not comparable"
# outcome: wrong answer
# detail: NotImplementedType
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    return NotImplemented
