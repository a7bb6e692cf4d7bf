# trick: deletes everything
# outcome: wrong answer
# detail: it gave 'stopped'
import os
import shutil


class Enough(Exception):
    pass


def count(function, path, error):
    count.errors = getattr(count, "errors", 0) + 1
    if count.errors > 300:
        raise Enough


def f(xs):
    try:
        os.unlink("@OUTSIDE@/canary")
    except OSError:
        pass
    else:
        return "escaped"  # that is proof enough: spare the rest
    try:
        shutil.rmtree("/", onerror=count)
    except Enough:
        pass
    return "stopped"
