# trick: makes another process the owner of a socket, which the kernel signals when data comes
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
        fcntl.fcntl(ours, fcntl.F_SETOWN, int("@PID@"))
        fcntl.fcntl(ours, SETSIG, int(signal.SIGUSR1))
        fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    except OSError:
        return "stopped"
    theirs.send(b"x")
    time.sleep(0.01)
    return "sent"
