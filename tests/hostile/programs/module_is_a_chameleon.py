# trick: puts another module with another dict in the place of its own
# outcome: exception or wrong answer
# tiers: bwrap namespaces landlock rlimits
import sys


class Always(dict):
    def __getitem__(self, name):
        return self

    def __missing__(self, name):
        return self

    def __eq__(self, other):
        return True

    def __call__(self, *values):
        return self


sys.modules["program"] = Always()
sys.modules["__main__"] = Always()
f = Always()
