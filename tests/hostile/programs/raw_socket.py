# trick: opens sockets of odd families, to the kernel and to the network's cards
# outcome: forbidden action
# detail: socket
import socket


def f(xs):
    for family in (socket.AF_NETLINK, socket.AF_PACKET, socket.AF_ALG, socket.AF_VSOCK):
        try:
            socket.socket(family, socket.SOCK_RAW)
        except OSError:
            continue
        return "escaped"
    return "stopped"
