# trick: has itself ended by an alarm
# outcome: crashed
# detail: SIGALRM
import signal
import time


def f(xs):
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(10)
