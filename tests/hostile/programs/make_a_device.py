# trick: makes a node of the machine's memory in its own folder
# outcome: forbidden action
# detail: mknod
import os
import stat


def f(xs):
    os.mknod("memory", 0o600 | stat.S_IFCHR, os.makedev(1, 1))
    return "escaped"
