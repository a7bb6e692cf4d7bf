# trick: starts threads until there can be no more
# outcome: wrong answer or out of memory
import threading
import time


def f(xs):
    count = 0
    try:
        while count < 500:
            threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
            count += 1
    except RuntimeError:
        pass
    return "many" if count < 400 else "escaped"
