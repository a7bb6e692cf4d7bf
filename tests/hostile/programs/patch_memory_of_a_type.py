# trick: overwrites, in memory, the comparison of lists by one that says yes
# outcome: wrong answer or crashed or exception
# tiers: bwrap namespaces landlock rlimits
import ctypes


def f(xs):
    kind = ctypes.py_object(list)
    yes = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.py_object, ctypes.c_int)
    f.kept = yes(lambda one, other, operation: True)
    place = id(kind.value) + list.__sizeof__([]) * 0 + 25 * 8  # tp_richcompare
    ctypes.c_void_p.from_address(place).value = ctypes.cast(f.kept, ctypes.c_void_p).value
    return [0]
