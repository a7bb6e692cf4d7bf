# trick: has a null byte in its source, after which a careless reader stops
# outcome: syntax error
# detail: null bytes
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    return []
# @NUL@
