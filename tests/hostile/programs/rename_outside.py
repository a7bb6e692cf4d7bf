# trick: moves a file from outside into its folder, and one of its own outside
# outcome: wrong answer
# detail: it gave 'stopped'
import os


def f(xs):
    open("mine", "w").close()
    os.mkdir("folder")
    for source, target in (
        ("@OUTSIDE@/canary", "taken"),
        ("mine", "@OUTSIDE@/canary"),
        ("folder", "@OUTSIDE@"),
        ("@OUTSIDE@", "folder/taken"),
    ):
        try:
            os.rename(source, target)
        except OSError:
            continue
        return "escaped"
    return "stopped"
