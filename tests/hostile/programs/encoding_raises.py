# trick: returns an object whose way to the judge raises what ends a process
# outcome: exception or exited early
# tiers: bwrap namespaces landlock rlimits
class Item:
    def item(self):
        raise SystemExit(0)


Item.__module__ = "numpy"


def f(xs):
    return [Item()]
