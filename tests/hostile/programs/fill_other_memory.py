# trick: fills a device's file system, which counts against no limit of its own
# outcome: wrong answer
# detail: it gave 'stopped'
import os


def f(xs):
    for folder in ("/dev/shm", "/dev", "/run", "/run/lock"):
        path = f"{folder}/gars_hostile_canary"
        try:
            with open(path, "wb") as file:
                file.write(bytes(1 << 20))
        except OSError:
            continue
        os.unlink(path)
        return "escaped"
    return "stopped"
