# trick: reads a secret by calls of the C library, and by a map of the file
# outcome: wrong answer
# detail: it gave 'stopped'
import ctypes
import os


def f(xs):
    libc = ctypes.CDLL(None)
    number = libc.open(b"@SECRET@", os.O_RDONLY)
    if number < 0:
        number = libc.openat(-100, b"@SECRET@", os.O_RDONLY)
    return os.read(number, 100).decode() if number >= 0 else "stopped"
