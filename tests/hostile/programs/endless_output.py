# trick: prints without end
# outcome: timeout
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    while True:
        print("passed " * 1000)
