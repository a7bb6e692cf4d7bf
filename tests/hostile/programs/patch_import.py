# trick: replaces the import of modules by one that gives objects that agree to everything
# outcome: wrong answer
# detail: it gave 'done'
# tiers: bwrap namespaces landlock rlimits
import builtins
import sys


class Agrees:
    def __getattr__(self, name):
        return self

    def __call__(self, *values, **named):
        return self

    def __eq__(self, other):
        return True


def f(xs):
    builtins.__import__ = lambda *values, **named: Agrees()
    for name in ("json", "wire", "assertions", "unittest", "pytest"):
        sys.modules[name] = Agrees()
    return "done"
