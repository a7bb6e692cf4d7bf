# trick: replaces the functions that show errors and values by ones that leave
# outcome: wrong answer
# detail: it gave 'done'
# tiers: bwrap namespaces landlock rlimits
import os
import sys
import threading


def leave(*values):
    os._exit(0)


def f(xs):
    sys.excepthook = sys.unraisablehook = sys.displayhook = threading.excepthook = leave
    sys.__excepthook__ = sys.breakpointhook = leave
    return "done"
