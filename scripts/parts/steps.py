"""What each step of set-up shares: one line of progress, one lock, one way to fail."""

import contextlib
import fcntl
import itertools
import shlex
import subprocess
import sys
import time


class Stop(Exception):
    """Set-up cannot go on; the message says what the user can do."""


class Step:
    """A step prints one line: what it is, what was done, in how many seconds."""

    def __init__(self, name):
        self.name, self.done = name, "here already"

    def say(self, done):
        self.done = done

    def start(self, what):
        print(f"{self.name}: {what} ...", flush=True)


@contextlib.contextmanager
def step(name):
    this, start = Step(name), time.monotonic()
    yield this
    print(f"{name}: {this.done} ({time.monotonic() - start:.1f} s)", flush=True)


@contextlib.contextmanager
def locked(folder):
    """Holds the lock of a folder; the system drops it when the process dies, however it dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a") as file:
        for attempt in itertools.count():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == 20:
                    print(f"waiting for another set-up that works in {folder}", file=sys.stderr, flush=True)
                time.sleep(0.1)
        yield


def run(command, **options):
    """Runs a command that may print; its failure ends set-up with the command that failed."""
    command = [str(part) for part in command]
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, **options)
    except FileNotFoundError:
        raise Stop(f"`{command[0]}` was not found; is it installed and on the PATH?") from None
    except subprocess.CalledProcessError as error:
        raise Stop(f"`{shlex.join(command)}` failed with status {error.returncode}") from None


def output_of(command, **options):
    """The standard output of a command, or None if it is missing or fails."""
    try:
        done = subprocess.run(
            [str(part) for part in command], check=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
