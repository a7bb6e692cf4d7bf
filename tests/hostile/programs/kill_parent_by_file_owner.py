# trick: has the kernel kill the process that started it, by a socket that this process owns
# outcome: wrong answer or forbidden action
import fcntl
import os
import signal
import socket
import time

SETSIG = 10


def f(xs):
    ours, theirs = socket.socketpair()
    try:
        fcntl.fcntl(ours, fcntl.F_SETOWN, os.getppid())
        fcntl.fcntl(ours, SETSIG, int(signal.SIGKILL))
        fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    except OSError:
        return "stopped"
    theirs.send(b"x")
    time.sleep(0.01)
    return "sent"
