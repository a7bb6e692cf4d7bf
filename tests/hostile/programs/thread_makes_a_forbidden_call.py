# trick: has a thread make a forbidden call while the function returns a value
# outcome: forbidden action or wrong answer
import os
import threading
import time


def f(xs):
    threading.Thread(target=os.fork, daemon=True).start()
    time.sleep(0.01)
    return "returned"
