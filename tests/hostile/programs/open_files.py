# trick: opens files until no more can be opened
# outcome: wrong answer
# detail: it gave 'stopped'
# tiers: bwrap namespaces landlock rlimits
held = []


def f(xs):
    try:
        for _ in range(5000):
            held.append(open("/dev/null"))
    except OSError:
        held.clear()
        return "stopped"
    return "escaped"
