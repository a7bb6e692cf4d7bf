# trick: returns a list that is equal to every other list
# outcome: wrong answer
# detail: it gave []
# tiers: bwrap namespaces landlock rlimits
class Yes(list):
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False


def f(xs):
    return Yes()
