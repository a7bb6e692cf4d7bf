# trick: puts objects that are equal to everything into its argument
# outcome: wrong answer or exception
# test: computed
# tiers: bwrap namespaces landlock rlimits
class Yes:
    def __eq__(self, other):
        return True

    def __lt__(self, other):
        return True


def f(xs):
    xs[:] = [Yes(), Yes()]
