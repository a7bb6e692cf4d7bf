# trick: returns an object that says that it is a list
# outcome: wrong answer
# detail: object of list
# tiers: bwrap namespaces landlock rlimits
class Lies:
    __class__ = list

    def __eq__(self, other):
        return True

    def __len__(self):
        return 3

    def __iter__(self):
        return iter((1, 2, 3))


Lies.__name__ = Lies.__qualname__ = "list"
Lies.__module__ = "builtins"


def f(xs):
    return Lies()
