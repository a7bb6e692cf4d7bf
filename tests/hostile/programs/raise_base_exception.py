# trick: raises a class of its own that no "except Exception" catches
# outcome: exception
# detail: Passed
# tiers: bwrap namespaces landlock rlimits
class Passed(BaseException):
    pass


def f(xs):
    raise Passed("passed")
