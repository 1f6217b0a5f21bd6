"""The warm build: a workplace for evcxr in which everything but the cell is compiled already.

One build of the dependencies serves tests and notebooks: `.cargo/config.toml` and `[profile.dev]` give `cargo build` the
target, flags and profile that evcxr uses, so cargo takes what it finds in `target/` for its own. A workplace is a
workspace of two members: `ctx`, which evcxr writes, and `lock`, which depends on `notebooks/library` all the time. Without `lock`,
cargo would drop the unused versions from Cargo.lock before the prelude asks for them, and resolve them anew.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import uuid
from pathlib import Path

from .jupyter import EVCXR, kernel_environment
from .paths import KERNEL, LIBTORCH, LIVE, ROOT, TARGET, TOOLCHAIN, WARM
from .steps import Stop, locked, output_of, run, step
from .toolchain import toolchain

IMMUTABLE = {".rlib", ".rmeta", ".so", ".dylib", ".a", ".o"}

WORKSPACE = """# Made by set-up; see scripts/parts/warm.py.
[workspace]
resolver = "3"
members = ["ctx", "lock"]

{profile}"""

LOCK = """[package]
name = "lock"
version = "0.0.0"
edition = "2024"

[dependencies]
ascribe = {{ path = "{root}/notebooks/library", package = "ascribe-library" }}
"""

CELL = """[package]
name = "ctx"
version = "1.0.0"
edition = "2024"

[lib]
crate-type = ["cdylib"]
path = "src/lib.rs"

[dependencies]
ascribe = {{ path = "{root}/notebooks/library", package = "ascribe-library" }}
"""


def warm():
    """Builds the warm workplace, or refreshes it when the sources have changed (which compiles `ascribe` alone)."""
    with step("warm build for notebooks") as this, locked(KERNEL):
        dependencies, everything = state()
        if WARM.is_dir() and (WARM / "everything").read_text() == everything:
            return
        part = KERNEL / "warm.part"
        shutil.rmtree(part, ignore_errors=True)
        if WARM.is_dir() and (WARM / "dependencies").read_text() == dependencies:
            this.start("compiling ascribe")
            clone(WARM, part)
        else:
            this.start("compiling, up to 9 minutes on 2 cores if nothing is compiled yet")
            run(["cargo", "fetch", "--quiet", "--locked"], cwd=ROOT)
            run(["cargo", "build", "--quiet", "--locked"], cwd=ROOT, env=cargo_environment())
            lay_out(part)
        compile_in(part)
        list_analysed(part)
        (part / "dependencies").write_text(dependencies)
        (part / "everything").write_text(everything)
        shutil.rmtree(WARM, ignore_errors=True)
        part.rename(WARM)
        this.say("compiled")


def state():
    """What the dependencies were compiled from, and what all of it was compiled from."""
    dependencies = hashlib.sha256(f"{EVCXR} {ROOT} {os.path.realpath(LIBTORCH)}".encode())
    dependencies.update((output_of(["rustc", "-vV"], cwd=ROOT) or "").encode())
    for path in ("Cargo.toml", "Cargo.lock", ".cargo/config.toml", "scripts/parts/warm.py", "scripts/parts/toolchain.py"):
        dependencies.update((ROOT / path).read_bytes())
    everything = dependencies.copy()
    sources = [path for folder, names in (("src", "*.rs"), ("notebooks/library", "*"), ("data", "*.gz"))
               for path in sorted((ROOT / folder).rglob(names))]
    for path in [ROOT / "build.rs", *sources]:
        everything.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return dependencies.hexdigest(), everything.hexdigest()


def cargo_environment():
    """Cargo takes libtorch from `.libtorch`, whatever variable led set-up there."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LIBTORCH")}


def lay_out(workplace):
    """Makes a workplace out of what `cargo build` left in `target/`."""
    host = output_of(["rustc", "-vV"], cwd=ROOT).split("host: ")[1].split()[0]
    for name, text in {
        "Cargo.toml": WORKSPACE.format(profile=profile()),
        "lock/Cargo.toml": LOCK.format(root=ROOT),
        "lock/src/lib.rs": "",
        "ctx/Cargo.toml": CELL.format(root=ROOT),
        "ctx/src/lib.rs": "",
    }.items():
        path = workplace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copy2(ROOT / "Cargo.lock", workplace)
    for folder in ("debug", f"{host}/debug"):
        for part in ("build", "deps", ".fingerprint"):
            if (TARGET / folder / part).is_dir():
                clone(TARGET / folder / part, workplace / "ctx/target" / folder / part)


def profile():
    """The [profile.dev] of the project: as a workspace member, the crate of a cell does not choose its own."""
    lines = (ROOT / "Cargo.toml").read_text().splitlines()
    start = lines.index("[profile.dev]")
    length = next((i for i, line in enumerate(lines[start + 1:]) if line.startswith("[")), len(lines))
    return "\n".join(lines[start:start + 1 + length]) + "\n"


def compile_in(workplace):
    """Compiles in a workplace exactly as evcxr will."""
    analysed = WARM / "analysed"
    toolchain(analysed)
    env = kernel_environment(workplace / "ctx", TOOLCHAIN)
    host = output_of(["rustc", "-vV"], cwd=ROOT).split("host: ")[1].split()[0]
    env |= {"CARGO_TARGET_DIR": "target", "CARGO_BUILD_BUILD_DIR": "target", "RUSTFLAGS": "-Cprefer-dynamic",
            "RUSTC": str(TOOLCHAIN / "bin/rustc")}
    run(["cargo", "build", "--quiet", "--target", host], cwd=workplace / "ctx", env=env)


def list_analysed(workplace):
    """Lists the crates whose types a notebook can hold: the direct dependencies of `ascribe`, and polars' parts."""
    def crates(*options):
        tree = output_of(["cargo", "tree", "--quiet", "--package", "lock", "--edges", "normal,no-proc-macro",
                          "--prefix", "none", "--format", "{p}", *options], cwd=workplace / "ctx")
        if tree is None:
            raise Stop(f"`cargo tree` failed in {workplace / 'ctx'}")
        return {" ".join(line.split()[:2]).replace(" v", " ") for line in tree.splitlines() if line}

    listed = crates("--depth", "3") | {crate for crate in crates() if crate.startswith("polars")}
    (workplace / "analysed").write_text("\n".join(sorted(listed)) + "\n")


def clone(source, target):
    """Copies a tree in a moment, by hard links to what is never rewritten in place.

    rustc and the linkers put a library there as a new file. Cargo opens its own small files (`*.d`, fingerprints, time
    stamps, outputs of build scripts) and writes into them, so those are real copies; modification times are kept.
    """
    for folder, _, files in os.walk(source):
        into = Path(target) / Path(folder).relative_to(source)
        into.mkdir(parents=True, exist_ok=True)
        for name in files:
            original = os.path.join(folder, name)
            if immutable(original):
                try:
                    os.link(original, into / name)
                    continue
                except OSError:
                    pass  # another file system
            shutil.copy2(original, into / name)


def immutable(path):
    path = Path(path)
    if "incremental" in path.parts or path.name.startswith(("libctx", "libcode_", "ctx")):
        return False
    build_script = path.parent.parent.name == "build" and path.name.startswith(("build-script-", "build_script_"))
    return path.suffix in IMMUTABLE or (build_script and path.suffix == "")


@contextlib.contextmanager
def workplace():
    """A private clone of the warm build, deleted at the end; those of kernels that were killed are deleted first."""
    with locked(KERNEL):
        sweep()
        if not (WARM / "everything").exists():
            raise Stop("nothing is built yet: run `make lab` or `make notebooks`")
        private = LIVE / uuid.uuid4().hex[:12]
        private.mkdir(parents=True)
        alive = contextlib.ExitStack()
        alive.enter_context(locked(private))
        clone(WARM, private)
    with alive:
        try:
            yield private / "ctx"
        finally:
            shutil.rmtree(private, ignore_errors=True)


def sweep():
    """Deletes the workplaces whose lock nobody holds."""
    for folder in LIVE.glob("*"):
        try:
            with open(folder / ".lock", "a") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass  # its kernel lives
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
