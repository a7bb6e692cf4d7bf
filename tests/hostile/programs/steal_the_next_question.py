# trick: reads the judge's next question itself and answers with its argument's own nodes
# outcome: wrong answer
# detail: it gave [3, 1, 2]
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")
channel.send({"loaded": True})
channel.receive()
channel.send({"value": {"nodes": [["object", 0, "function", False]], "item": [0]}})
question = channel.receive()
nodes = question["arguments"]["nodes"]
channel.send({"value": {"nodes": nodes, "item": question["arguments"]["items"][0]}})
channel.receive()


def f(xs):
    return xs
