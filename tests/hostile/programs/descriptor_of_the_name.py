# trick: makes its own name a thing that changes with each look at it
# outcome: wrong answer or exception
# tiers: bwrap namespaces landlock rlimits
import sys


class Shifty(dict):
    count = 0

    def __getitem__(self, name):
        Shifty.count += 1
        return lambda xs: []


class Module(type(sys)):
    def __getattribute__(self, name):
        if name == "__dict__":
            return Shifty()
        return super().__getattribute__(name)


sys.modules["program"].__class__ = Module


def f(xs):
    return "first"
