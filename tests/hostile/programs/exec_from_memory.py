# trick: makes a program in memory and becomes it
# outcome: wrong answer or forbidden action
import os


def f(xs):
    try:
        number = os.memfd_create("program")
    except OSError:
        return "stopped"
    os.write(number, b"#!/bin/true\n")
    os.execve(number, ["program"], {})
