# trick: aborts its process
# outcome: crashed
# detail: SIGABRT
import os


def f(xs):
    os.abort()
