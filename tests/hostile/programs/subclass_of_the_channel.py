# trick: changes the class of the channel, so that it says what it likes
# outcome: forbidden action
# detail: no value
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


class Lies(type(channel)):
    def send(self, message):
        super().send({key: "passed" for key in message})


channel.__class__ = Lies


def f(xs):
    return xs
