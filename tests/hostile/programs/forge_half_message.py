# trick: sends half a message and leaves
# outcome: exited early
# detail: exit code 0
# tiers: bwrap namespaces landlock rlimits
import gc
import os

channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")


def f(xs):
    channel.end.sendall(b'\0\0\0\x40{"value": ')
    os._exit(0)
