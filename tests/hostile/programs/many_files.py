# trick: leaves thousands of files and folders behind
# outcome: wrong answer
# detail: it gave 'left'
import os


def f(xs):
    for number in range(1000):
        os.mkdir(f"folder{number}")
        open(f"folder{number}/file", "w").close()
    return "left"
