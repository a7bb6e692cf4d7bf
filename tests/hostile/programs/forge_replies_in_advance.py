# trick: answers all questions before they are asked, with an object that is equal to everything
# outcome: wrong answer
# detail: object of Yes
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")
channel.send({"loaded": True})
for _ in range(50):
    channel.send({"value": {"nodes": [["object", 0, "Yes", False]], "item": [0]}})


class Yes:
    def __eq__(self, other):
        return True


def f(xs):
    return Yes()
