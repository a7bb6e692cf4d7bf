# trick: makes a program in its folder that runs with its owner's rights
# outcome: forbidden action
# detail: PermissionError
import os


def f(xs):
    with open("program", "w") as file:
        file.write("#!/bin/sh\n")
    os.chmod("program", 0o6777)
    return "left"
