# trick: forks, and the children fork
# outcome: forbidden action
# detail: fork
import os
import time


def f(xs):
    for _ in range(5):
        os.fork()
    time.sleep(3600)
