# trick: has the interpreter read a secret, as a module, as a library and as a source line
# outcome: wrong answer
# detail: it gave 'stopped'
import ctypes
import importlib.util
import linecache
import runpy


def f(xs):
    if linecache.getline("@SECRET@", 1):
        return linecache.getline("@SECRET@", 1)
    for attempt in (
        lambda: runpy.run_path("@SECRET@"),
        lambda: importlib.machinery.SourceFileLoader("x", "@SECRET@").get_data("@SECRET@"),
        lambda: ctypes.CDLL("@SECRET@"),
    ):
        try:
            return str(attempt())
        except OSError as error:
            if "invalid ELF header" in str(error) or "too short" in str(error):
                return "escaped"
        except NameError as error:
            return str(error)
    return "stopped"
