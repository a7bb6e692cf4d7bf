# trick: does not define the name that is tested
# outcome: exception
# detail: NameError: f is not defined
# tiers: bwrap namespaces landlock rlimits
def g(xs):
    return xs
