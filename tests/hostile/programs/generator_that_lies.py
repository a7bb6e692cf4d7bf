# trick: returns an iterator that gives objects equal to everything
# outcome: wrong answer
# detail: object of generator
# test: iterated
# tiers: bwrap namespaces landlock rlimits
class Yes:
    def __eq__(self, other):
        return True


def f(xs):
    yield Yes()
    yield Yes()
    yield Yes()
