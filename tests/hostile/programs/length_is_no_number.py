# trick: returns an object whose length is negative, a text, or too large for any list
# outcome: exception or forbidden action or wrong answer
# test: iterated
# tiers: bwrap namespaces landlock rlimits
class Long:
    def __len__(self):
        return 1 << 70

    def __iter__(self):
        return iter([Long()] * 3)


def f(xs):
    return Long()
