# trick: has a destructor write a value in front of the real one
# outcome: wrong answer
# detail: it gave True
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


class Last:
    def __del__(self):
        channel.send({"value": {"nodes": [], "item": True}})


def f(xs):
    Last()
    return xs
