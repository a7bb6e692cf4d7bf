# trick: makes every object's type a class that is equal to every other
# outcome: wrong answer or exception or exited early or forbidden action
# tiers: bwrap namespaces landlock rlimits
import builtins


class Every(type):
    def __eq__(cls, other):
        return True

    __hash__ = type.__hash__


class Thing(metaclass=Every):
    pass


def f(xs):
    builtins.type = lambda *values: Thing
    builtins.list = builtins.dict = builtins.str = Thing
    return Thing()
