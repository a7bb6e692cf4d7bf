# trick: raises StopIteration and GeneratorExit out of its iteration, to end the test's loop
# outcome: wrong answer or exception
# test: iterated
# tiers: bwrap namespaces landlock rlimits
class Once:
    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration([1, 2, 3])


def f(xs):
    return Once()
