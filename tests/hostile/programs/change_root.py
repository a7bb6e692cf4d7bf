# trick: leaves its root by a root inside of it
# outcome: forbidden action
# detail: chroot
import os


def f(xs):
    os.mkdir("inner")
    os.chroot("inner")
    return "escaped"
