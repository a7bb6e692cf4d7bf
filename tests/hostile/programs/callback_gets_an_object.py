# trick: gives the test's function an object that raises whatever is done with it
# outcome: exception or wrong answer
# test: callback
# tiers: bwrap namespaces landlock rlimits
class Bad:
    def __neg__(self):
        raise SystemExit(0)

    def __getattr__(self, name):
        raise SystemExit(0)


def f(xs, key):
    return [key(Bad()), key(None)]
