# trick: reads and writes the memory of the process that wants the verdict
# outcome: wrong answer
# detail: it gave 'stopped'
import os


def f(xs):
    for number in ("@PID@", "1", str(os.getppid())):
        for name, flags in (("mem", os.O_RDWR), ("mem", os.O_RDONLY), ("fd/0", os.O_RDWR)):
            try:
                os.open(f"/proc/{number}/{name}", flags)
            except OSError:
                continue
            return "escaped"
    return "stopped"
