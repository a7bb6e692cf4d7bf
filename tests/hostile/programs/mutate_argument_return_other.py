# trick: empties the list from which the test computes what it expects, and returns an empty one
# outcome: wrong answer
# detail: it gave []
# test: computed
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    xs.clear()
    return []
