# trick: returns lists that share their parts, so that written out they would fill the memory
# outcome: wrong answer
# detail: it gave [[[
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    made = []
    for _ in range(100):
        made = [made] * 10
    return made
