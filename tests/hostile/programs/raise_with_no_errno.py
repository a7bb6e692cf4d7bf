# trick: raises an OSError whose number is an object that is equal to every number
# outcome: exception or forbidden action or exited early
# tiers: bwrap namespaces landlock rlimits
class Every(int):
    def __eq__(self, other):
        raise SystemExit(0)

    __hash__ = int.__hash__


def f(xs):
    raise OSError(Every(0), "passed")
