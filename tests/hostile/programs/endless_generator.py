# trick: returns a generator that never ends, which the test makes a list of
# outcome: timeout
# test: iterated
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    while True:
        yield 1
