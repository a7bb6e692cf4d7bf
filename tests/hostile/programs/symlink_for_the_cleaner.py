# trick: leaves links to outside, for whoever empties its folder to follow
# outcome: wrong answer
# detail: it gave 'left'
import os


def f(xs):
    os.makedirs("outer/inner")
    for place in ("link", "outer/link", "outer/inner/link"):
        os.symlink("@OUTSIDE@", place)
    os.symlink("@OUTSIDE@/canary", "outer/file")
    os.symlink("outer", "loop")
    os.symlink("loop", "outer/loop")
    os.mkdir("outer/inner/locked", 0)
    return "left"
