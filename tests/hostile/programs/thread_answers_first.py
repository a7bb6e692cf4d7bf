# trick: a thread goes on answering "true" to whatever the judge asks
# outcome: wrong answer or forbidden action or exception
# tiers: bwrap namespaces landlock rlimits
import gc
import threading
import time

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


def answer():
    while True:
        channel.send({"value": {"nodes": [], "item": True}})
        time.sleep(0.0001)


threading.Thread(target=answer, daemon=True).start()


def f(xs):
    time.sleep(0.05)
    return True
