# trick: forks a child that goes on when the program is judged
# outcome: forbidden action
# detail: fork
import os
import time

if os.fork() == 0:
    os.setsid()
    time.sleep(3600)


def f(xs):
    return xs
