# trick: returns text that is equal to everything, and has the hash of everything
# outcome: wrong answer
# detail: it gave 'yes'
# tiers: bwrap namespaces landlock rlimits
class Yes(str):
    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0

    def __str__(self):
        raise SystemExit(0)


def f(xs):
    return Yes("yes")
