# trick: asks for a queue of the kernel's, by which calls are made that no filter sees
# outcome: forbidden action
# detail: io_uring_setup
import ctypes


def f(xs):
    number = ctypes.CDLL(None).syscall(425, 1, ctypes.create_string_buffer(120))
    return "escaped" if number >= 0 else "stopped"
