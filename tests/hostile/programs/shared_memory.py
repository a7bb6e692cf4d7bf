# trick: leaves data in memory that outlives it, for the next program
# outcome: wrong answer or forbidden action
import ctypes
from multiprocessing import shared_memory


def f(xs):
    try:
        shared_memory.SharedMemory("gars-hostile", create=True, size=100)
        return "escaped"
    except (OSError, ImportError):
        pass
    return "escaped" if ctypes.CDLL(None).shmget(7, 100, 0o1600) >= 0 else "stopped"
