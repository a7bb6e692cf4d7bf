# trick: returns an object that is equal to everything
# outcome: wrong answer
# detail: object of Yes
# tiers: bwrap namespaces landlock rlimits
class Yes:
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = None


def f(xs):
    return Yes()
