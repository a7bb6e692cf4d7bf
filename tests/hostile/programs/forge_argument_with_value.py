# trick: returns a value and, by a forged message, empties the list that the test computes from
# outcome: wrong answer or forbidden action
# test: computed
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


def f(xs):
    empty = [["list", []]]
    channel.send(
        {
            "value": {"nodes": empty, "item": [0]},
            "arguments": {"nodes": empty, "items": [[0]]},
        }
    )
    return []
