# trick: raises a group of exceptions, with a SystemExit in it
# outcome: exception
# detail: passed
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    raise BaseExceptionGroup("passed", [SystemExit(0), ExceptionGroup("x", [ValueError()])])
