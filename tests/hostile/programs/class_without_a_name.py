# trick: returns an object whose class has a name that is no text
# outcome: exited early or wrong answer or exception
# tiers: bwrap namespaces landlock rlimits
class Meta(type):
    @property
    def __name__(cls):
        return cls

    @property
    def __module__(cls):
        raise ValueError("passed")


class Thing(metaclass=Meta):
    pass


def f(xs):
    return Thing()
