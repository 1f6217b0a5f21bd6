"""The parts of set-up. Python's standard library only: nothing may be needed before set-up has run."""
