# trick: returns what looks like a number of numpy's and unpacks to what is equal to everything
# outcome: wrong answer
# detail: object of Yes
# tiers: bwrap namespaces landlock rlimits
class Yes:
    def __eq__(self, other):
        return True


class Number:
    def item(self):
        return Yes()


Number.__module__ = "numpy"


def f(xs):
    return Number()
