# trick: ties the process that wants the verdict to one core
# outcome: wrong answer or forbidden action
import os


def f(xs):
    for number in (int("@PID@"), os.getppid()):
        try:
            os.sched_setaffinity(number, {min(os.sched_getaffinity(0))})
        except OSError:
            continue
        return "escaped"
    return "stopped"
