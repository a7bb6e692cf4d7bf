# trick: sends to a service of this machine by a unix socket
# outcome: wrong answer
# detail: it gave 'stopped'
import socket


def f(xs):
    try:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        end.sendto(b"x", "@SOCKET@")
    except OSError:
        return "stopped"
    return "escaped"
