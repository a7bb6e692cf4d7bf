# trick: sends back more arguments than it was given
# outcome: exception or forbidden action or wrong answer
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


def f(xs):
    channel.send(
        {
            "value": {"nodes": [], "item": None},
            "arguments": {"nodes": [], "items": [1, 2, 3]},
        }
    )
