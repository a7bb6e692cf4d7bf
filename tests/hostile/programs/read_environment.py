# trick: looks for keys and passwords in its environment
# outcome: wrong answer
# detail: it gave 'nothing found'
# tiers: bwrap namespaces landlock rlimits
import ctypes
import os

USUAL = {"PATH", "HOME", "TMPDIR", "PWD", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH"}
USUAL |= {"PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}


def f(xs):
    held = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    names, index = set(os.environ), 0
    while held[index] is not None:
        names.add(held[index].decode().partition("=")[0])
        index += 1
    return ", ".join(names - USUAL) or "nothing found"
