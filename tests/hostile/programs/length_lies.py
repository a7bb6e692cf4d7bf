# trick: returns an object whose length is a trillion, which the test makes a list of
# outcome: out of memory or exception
# test: iterated
# tiers: bwrap namespaces landlock rlimits
class Long:
    def __len__(self):
        return 10**12

    def __iter__(self):
        return iter(())


def f(xs):
    return Long()
