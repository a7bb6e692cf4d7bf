# trick: listens on a port, for commands from outside
# outcome: forbidden action
# detail: socket
import socket


def f(xs):
    end = socket.socket(socket.AF_INET6)
    end.bind(("::1", 0))
    end.listen()
    return "escaped"
