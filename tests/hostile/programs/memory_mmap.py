# trick: maps memory until there is no more
# outcome: exception or out of memory
# detail: memory
# tiers: bwrap namespaces landlock rlimits
import mmap

held = []


def f(xs):
    while True:
        held.append(mmap.mmap(-1, 16 << 20))
        held[-1].write(b"x" * (16 << 20))
