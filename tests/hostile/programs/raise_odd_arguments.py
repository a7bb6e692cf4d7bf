# trick: raises exceptions whose arguments are objects that raise when they are read
# outcome: exception
# tiers: bwrap namespaces landlock rlimits
class Bad(SyntaxError):
    def __iter__(self):
        raise Bad("passed", self)


def f(xs):
    bad = Bad()
    bad.args = ("passed", bad)
    raise bad
