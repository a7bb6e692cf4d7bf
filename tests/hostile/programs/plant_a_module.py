# trick: puts modules into its folder, to be imported by itself and by the next program
# outcome: wrong answer
# detail: it gave 'planted'
import importlib
import sys

for name in ("json", "wire", "program", "sitecustomize", "planted"):
    with open(f"{name}.py", "w") as file:
        file.write("import os\nword = 'planted'\n")
sys.path.insert(0, "")
importlib.invalidate_caches()


def f(xs):
    import planted

    return planted.word
