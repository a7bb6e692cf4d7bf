# trick: raises SystemExit when it is called
# outcome: exited early
# detail: SystemExit
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    raise SystemExit
