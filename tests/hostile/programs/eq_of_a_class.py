# trick: returns a class that is equal to everything by its metaclass
# outcome: wrong answer
# detail: object of Meta
# tiers: bwrap namespaces landlock rlimits
class Meta(type):
    def __eq__(cls, other):
        return True

    __hash__ = type.__hash__


class Yes(metaclass=Meta):
    pass


def f(xs):
    return Yes
