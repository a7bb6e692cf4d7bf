# trick: changes its argument in place and returns nothing
# outcome: wrong answer
# detail: it gave None
# test: computed
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    xs.clear()
