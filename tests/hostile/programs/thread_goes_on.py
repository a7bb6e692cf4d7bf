# trick: leaves a thread that is busy for ever
# outcome: wrong answer
# detail: it gave 'busy'
# tiers: bwrap namespaces landlock rlimits
import threading


def work():
    while True:
        sum(range(1000))


def f(xs):
    threading.Thread(target=work, daemon=True).start()
    return "busy"
