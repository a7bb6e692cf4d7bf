# trick: asks who holds its argument, and changes all that it finds there
# outcome: wrong answer
# detail: it gave 0
# tiers: bwrap namespaces landlock rlimits
import gc


def f(xs):
    for holder in gc.get_referrers(xs):
        if isinstance(holder, dict):
            holder["expected"] = holder["result"] = 0
        if isinstance(holder, list):
            holder[:] = [0]
    return 0
