# trick: returns a number that is equal to everything, in a list
# outcome: wrong answer
# detail: it gave [0, 0, 0]
# tiers: bwrap namespaces landlock rlimits
class Yes(int):
    def __eq__(self, other):
        return True

    def __int__(self):
        return 1

    __index__ = __int__
    __hash__ = int.__hash__


def f(xs):
    return [Yes(0)] * len(xs)
