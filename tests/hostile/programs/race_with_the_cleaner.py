# trick: a thread swaps folders for links to outside, as fast as it can, while its folder is emptied
# outcome: wrong answer
# detail: it gave 'left'
import os
import threading


def swap():
    while True:
        try:
            os.rename("folder", "other")
            os.symlink("@OUTSIDE@", "folder")
            os.unlink("folder")
            os.rename("other", "folder")
        except OSError:
            pass


def f(xs):
    os.makedirs("folder/inner")
    threading.Thread(target=swap, daemon=True).start()
    return "left"
