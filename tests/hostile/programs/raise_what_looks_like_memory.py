# trick: raises a class that calls itself MemoryError, to be counted as out of memory
# outcome: exception or out of memory
# tiers: bwrap namespaces landlock rlimits
class MemoryError(Exception):
    pass


MemoryError.__module__ = "builtins"


def f(xs):
    raise MemoryError("passed")
