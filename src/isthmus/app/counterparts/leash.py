"""Runs another program's script in that program's own Python, for as long as somebody holds our standard input.

python leash.py SCRIPT [ARGUMENT …]

When the program that started us ends, however it ends, the pipe closes and we end too: nothing is left behind. This
file runs outside our environment and so imports nothing but the standard library.
"""

import os
import runpy
import sys
import threading


def end_with_the_pipe() -> None:
    """Wait until the other end of standard input is closed, then end at once."""
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    threading.Thread(target=end_with_the_pipe, daemon=True).start()
    runpy.run_path(sys.argv[0], run_name="__main__")
