# trick: raises StopIteration, which loops take for their end
# outcome: exception
# detail: StopIteration
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    raise StopIteration([1, 2, 3])
