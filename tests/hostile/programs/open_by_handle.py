# trick: opens files by the kernel's handles, past all names
# outcome: forbidden action
# detail: open_by_handle_at
import ctypes


def f(xs):
    handle = ctypes.create_string_buffer(b"\x08\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0", 32)
    number = ctypes.CDLL(None).open_by_handle_at(0, handle, 0)
    return "escaped" if number >= 0 else "stopped"
