# trick: leaves folders that not even their owner may enter
# outcome: wrong answer
# detail: it gave 'left'
import os


def f(xs):
    os.makedirs("outer/inner/innermost")
    open("outer/inner/innermost/file", "w").close()
    for path in ("outer/inner/innermost/locked", "outer/inner/locked", "outer/locked", "locked"):
        os.mkdir(path, 0)
    return "left"
