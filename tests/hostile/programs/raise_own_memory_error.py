# trick: raises a subclass of MemoryError without having used any
# outcome: out of memory
# tiers: bwrap namespaces landlock rlimits
class Full(MemoryError):
    def __str__(self):
        raise SystemExit(0)


def f(xs):
    raise Full
