# trick: raises an exception that cannot be shown, since its text raises
# outcome: exception
# detail: Bad
# tiers: bwrap namespaces landlock rlimits
class Bad(Exception):
    def __str__(self):
        raise SystemExit(0)

    __repr__ = __str__


def f(xs):
    raise Bad
