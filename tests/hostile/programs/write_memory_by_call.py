# trick: writes the memory of the process that started it by a call for that
# outcome: forbidden action
# detail: process_vm_writev
import ctypes
import os


def f(xs):
    vector = ctypes.create_string_buffer(16)
    ctypes.CDLL(None).process_vm_writev(os.getppid(), vector, 1, vector, 1, 0)
    return "escaped"
