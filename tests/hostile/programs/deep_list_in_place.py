# trick: returns three lists nested very deep, which the test compares with numbers
# outcome: wrong answer
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    made = ()
    for _ in range(30_000):
        made = (made, made)
    return [made, [made], {"key": made}]
