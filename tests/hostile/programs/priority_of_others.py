# trick: makes the process that wants the verdict wait for all others
# outcome: wrong answer or forbidden action
import os


def f(xs):
    try:
        os.setpriority(os.PRIO_PROCESS, int("@PID@"), 1)
    except OSError:
        return "stopped"
    return "escaped"
