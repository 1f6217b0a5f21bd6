"""A toolchain that shows evcxr's analyser only the crates it has a use for.

evcxr asks an embedded rust-analyzer for the type of every variable. At kernel start that parses and resolves whatever
`cargo metadata` lists: 340 crates, although the types in a notebook come from `ascribe`, from its direct dependencies
and from the crates polars is split into. Dropping the others from that one answer halves the time to the first result.
Compilation is not touched, and a notebook that adds a dependency of its own gets the whole list.

The toolchain is a folder of links to the real one with a `cargo` in front, and RUSTUP_TOOLCHAIN names it.
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

from .paths import ROOT, TOOLCHAIN
from .steps import Stop, output_of

CARGO = """#!/bin/sh
# Made by set-up; see scripts/parts/toolchain.py.
case " $* " in
  *" --no-deps "* | *"/rustlib/src/"*) ;;
  *" metadata "*) {cargo} "$@" | {python} -I -S {trim} {analysed}; exit ;;
esac
exec {cargo} "$@"
"""


def toolchain(analysed):
    """Makes the toolchain; `analysed` is the file that lists the crates to keep."""
    sysroot = output_of(["rustc", "--print", "sysroot"], cwd=ROOT)
    cargo = output_of(["rustup", "which", "cargo"], cwd=ROOT) or shutil.which("cargo")
    if not sysroot or not cargo:
        raise Stop("`rustc` and `cargo` were not found; install Rust first")
    part = Path(f"{TOOLCHAIN}.part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "bin").mkdir(parents=True)
    for name in ("lib", "libexec", "share", "etc"):
        if (Path(sysroot) / name).exists():
            (part / name).symlink_to(Path(sysroot) / name)
    for program in (Path(sysroot) / "bin").iterdir():
        if program.name != "cargo":
            (part / "bin" / program.name).symlink_to(program)
    words = {"cargo": cargo, "python": os.path.realpath(sys.executable),
             "trim": ROOT / "scripts/parts/trim.py", "analysed": analysed}
    (part / "bin/cargo").write_text(CARGO.format(**{name: shlex.quote(str(word)) for name, word in words.items()}))
    (part / "bin/cargo").chmod(0o755)
    shutil.rmtree(TOOLCHAIN, ignore_errors=True)
    part.rename(TOOLCHAIN)
