# trick: sends messages of no length, and one that is not text
# outcome: forbidden action
# detail: broke the protocol: no JSON
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")
channel.end.sendall(bytes(8) + b"\0\0\0\2\xff\xfe")


def f(xs):
    return xs
