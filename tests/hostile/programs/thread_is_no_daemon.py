# trick: leaves threads that the interpreter would wait for at its end, and then leaves itself
# outcome: exited early
# detail: SystemExit
# tiers: bwrap namespaces landlock rlimits
import sys
import threading
import time


def f(xs):
    for _ in range(3):
        threading.Thread(target=time.sleep, args=(3600,)).start()
    sys.exit(0)
