"""Runs a command and records every byte that goes in and comes out: tap.py RECORD COMMAND..."""

import os
import subprocess
import sys
import threading

record, command = sys.argv[1], sys.argv[2:]
child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def pump(source, sink, name):
    with open(f"{record}.{name}", "wb", buffering=0) as file:
        while chunk := os.read(source, 65536):
            file.write(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(sink, view):]


def client():
    try:
        pump(sys.stdin.fileno(), child.stdin.fileno(), "in")
    except BrokenPipeError:
        pass
    child.stdin.close()


threading.Thread(target=client, daemon=True).start()
pump(child.stdout.fileno(), sys.stdout.fileno(), "out")
sys.exit(child.wait())
