# trick: looks for the test, the tasks and this very corpus on the disk
# outcome: wrong answer
# detail: it gave 'stopped'
import os
import sys


def f(xs):
    sandbox = next(iter(sys.modules["gars_vllm.engine.sandbox"].__path__))
    for root in (os.path.dirname(sandbox), os.path.dirname(os.path.dirname(sandbox))):
        for name in ("tests", "tests/hostile/test_hostile.py", ".git/HEAD"):
            try:
                os.open(os.path.join(root, name), os.O_RDONLY)
            except OSError:
                continue
            return f"escaped: {root}/{name}"
    return "stopped"
