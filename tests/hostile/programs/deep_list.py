# trick: returns a list that is nested a hundred thousand deep
# outcome: wrong answer
# detail: it gave [[[
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    made = []
    for _ in range(100_000):
        made = [made]
    return made
