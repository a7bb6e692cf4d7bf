# trick: raises an exception whose class has a name with control characters, and very long
# outcome: exception
# tiers: bwrap namespaces landlock rlimits
def f(xs):
    raise type("\x1b[2Jpassed\n" * 1000, (ValueError,), {"__module__": "builtins"})("x")
