# trick: stops the clocks that Python reads, and sleeps for ever
# outcome: timeout
# tiers: bwrap namespaces landlock rlimits
import time

sleep = time.sleep
time.time = time.monotonic = time.perf_counter = time.process_time = lambda: 0.0


def f(xs):
    while True:
        sleep(3600)
