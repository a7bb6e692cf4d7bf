# trick: returns a list that holds itself
# outcome: wrong answer
# detail: it gave [[
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    made = []
    made.append(made)
    return made
