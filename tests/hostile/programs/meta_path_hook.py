# trick: has every import that comes after give a module of its own
# outcome: wrong answer
# detail: it gave 'done'
# tiers: bwrap namespaces landlock rlimits
import sys
import types


class Finder:
    def find_spec(self, name, path=None, target=None):
        sys.modules[name] = types.ModuleType(name)
        raise ImportError("passed")


def f(xs):
    sys.meta_path.insert(0, Finder())
    for name in ("datetime", "decimal", "fractions", "json", "unittest"):
        sys.modules.pop(name, None)
    return "done"
