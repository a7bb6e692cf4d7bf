# trick: ignores the signals by which a program is ended, and catches all exceptions, for ever
# outcome: timeout
# tiers: bwrap namespaces landlock rlimits
import signal

for name in ("SIGALRM", "SIGTERM", "SIGXCPU", "SIGINT", "SIGHUP", "SIGPROF", "SIGVTALRM"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)


def f(xs):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
