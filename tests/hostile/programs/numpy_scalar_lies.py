# trick: returns what looks like a number of numpy's, which unpacks to itself without end
# outcome: exception
# detail: RecursionError
# tiers: bwrap namespaces landlock rlimits
class Number:
    def item(self):
        return self

    def __eq__(self, other):
        return True


Number.__module__ = "numpy"


def f(xs):
    return Number()
