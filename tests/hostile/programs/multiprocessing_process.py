# trick: starts a process by multiprocessing
# outcome: forbidden action
# detail: fork
import multiprocessing


def f(xs):
    process = multiprocessing.get_context("fork").Process(target=print)
    process.start()
    return "escaped"
