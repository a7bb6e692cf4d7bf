# trick: calls the test's function in itself, by an object that calls it again when it is read
# outcome: exception or wrong answer or timeout
# test: callback
# tiers: bwrap namespaces landlock rlimits
def f(xs, key):
    def again(depth):
        return key(depth) if depth == 0 else again(depth - 1) + key(depth)

    return again(500)
