# trick: a thread ends the process while the function is still running
# outcome: exited early
# detail: exit code 0
# tiers: bwrap namespaces landlock rlimits
import os
import threading
import time


def f(xs):
    threading.Timer(0.01, os._exit, (0,)).start()
    time.sleep(10)
