# trick: returns an empty list whose iteration, length and items are whatever one wishes
# outcome: wrong answer
# detail: it gave []
# tiers: bwrap namespaces landlock rlimits
import os


class Lies(list):
    def __iter__(self):
        os._exit(0)

    def __len__(self):
        return 3

    def __getitem__(self, key):
        return key + 1

    def __reduce__(self):
        return (list, ((1, 2, 3),))


def f(xs):
    return Lies()
