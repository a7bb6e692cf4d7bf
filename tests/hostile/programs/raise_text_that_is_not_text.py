# trick: raises an exception whose text is of a class of its own, which raises when it is used
# outcome: exception or exited early
# tiers: bwrap namespaces landlock rlimits
class Text(str):
    def __format__(self, spec):
        raise SystemExit(0)

    def __len__(self):
        raise SystemExit(0)

    def __bool__(self):
        raise SystemExit(0)


class Bad(Exception):
    def __str__(self):
        return Text("passed")


def f(xs):
    raise Bad
