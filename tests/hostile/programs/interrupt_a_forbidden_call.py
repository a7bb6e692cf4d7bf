# trick: has a timer interrupt a forbidden call, so that whoever watches for it finds none
# outcome: forbidden action or wrong answer or timeout
import os
import signal


def f(xs):
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 5e-5, 5e-5)
    for _ in range(200):
        try:
            child = os.fork()
        except OSError:
            continue
        if child == 0:
            os._exit(0)
        return "escaped"
    return "stopped"
