# trick: fetches a page from a server of this machine
# outcome: forbidden action
# detail: socket
import urllib.request


def f(xs):
    return urllib.request.urlopen("http://127.0.0.1:@PORT@/escaped", timeout=0.2).read()
