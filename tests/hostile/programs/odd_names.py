# trick: leaves files whose names are no text, or look like options and parents
# outcome: wrong answer
# detail: it gave 'left'
import os


def f(xs):
    for name in (b"\xff\xfe", b"-rf", b"...", b" ", b"a\nb", b"\x1b[2J", b"x" * 255):
        os.mkdir(name)
        os.symlink(b"..", name + b"/up" if len(name) < 250 else b"up")
    return "left"
