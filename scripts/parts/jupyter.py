"""The Rust kernel and the Python environment that Jupyter runs in."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from .paths import CACHE, LIBTORCH, PYTHON, ROOT, VENV
from .steps import Stop, locked, output_of, run, step

EVCXR = "0.22.0"


def environment():
    """Makes `.venv`. A stamp written last tells a whole environment from one whose set-up was killed."""
    requirements = ROOT / "scripts/requirements.txt"
    wanted = hashlib.sha256(f"{VENV} {sys.version} {requirements.read_text()}".encode()).hexdigest()
    stamp = VENV / "complete"
    with step("Jupyter in .venv") as this:
        if stamp.exists() and stamp.read_text() == wanted:
            return
        this.start("installing")
        if VENV.exists():
            shutil.rmtree(VENV)
        try:
            run([sys.executable, "-m", "venv", VENV])
        except Stop:
            shutil.rmtree(VENV, ignore_errors=True)
            raise Stop("this Python cannot make virtual environments; on Debian and Ubuntu the package "
                       "`python3-venv` is missing (`apt-get install python3-venv`)") from None
        run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", requirements])
        stamp.write_text(wanted)
        this.say("installed")


def evcxr():
    """Installs the kernel with cargo unless the right version is on the machine."""
    with step(f"evcxr_jupyter {EVCXR}") as this:
        if find_evcxr() is not None:
            return
        this.start("building, 5 to 9 minutes on 2 cores")
        with locked(CACHE), tempfile.TemporaryDirectory() as elsewhere:
            # Elsewhere, because the flags of this project's .cargo/config.toml are not meant for it.
            run(["cargo", "install", "evcxr_jupyter", "--version", EVCXR, "--locked", "--root", CACHE / "evcxr"],
                cwd=elsewhere, env=dict(os.environ, CARGO_TARGET_DIR=str(CACHE / "evcxr/target")))
            shutil.rmtree(CACHE / "evcxr/target", ignore_errors=True)
        this.say("built")


def find_evcxr():
    """The path of an evcxr_jupyter of the wanted version, or None."""
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    on_path = shutil.which("evcxr_jupyter")
    for place in filter(None, [on_path, home / "bin/evcxr_jupyter", CACHE / "evcxr/bin/evcxr_jupyter"]):
        # The program has no --version; the paths in its panic messages name the crate it was built from.
        if os.access(place, os.X_OK) and f"/evcxr-{EVCXR}/".encode() in Path(place).read_bytes():
            return Path(place)
    return None


def standard_library_sources():
    """evcxr infers the type of every variable from these; it would fetch them itself, during a cell."""
    with step("sources of the standard library") as this:
        sysroot = output_of(["rustc", "--print", "sysroot"], cwd=ROOT)
        if sysroot is None:
            raise Stop("`rustc` was not found; install Rust first")
        if (Path(sysroot) / "lib/rustlib/src/rust/library/core").is_dir():
            return
        # Without them the kernel works, more slowly: it asks the compiler for the types it cannot infer.
        try:
            run(["rustup", "component", "add", "rust-src"], cwd=ROOT)
            this.say("added with rustup")
        except (Stop, OSError):
            this.say("missing; add the component `rust-src` to Rust for a faster kernel")


def kernel_spec():
    """Makes the kernel known as `rust`, to this environment only."""
    folder = VENV / "share/jupyter/kernels/rust"
    spec = {
        "argv": [str(PYTHON), str(ROOT / "scripts/kernel"), "{connection_file}"],
        "display_name": "Rust",
        "language": "rust",
        "interrupt_mode": "message",
    }
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / "kernel.json.tmp"
    aside.write_text(json.dumps(spec, indent=2) + "\n")
    aside.replace(folder / "kernel.json")


def kernel_environment(workplace, toolchain):
    """The variables of a kernel that works in the folder `workplace`."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("CARGO_", "LIBTORCH")) or name == "CARGO_HOME"}
    libraries = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    env[libraries] = os.pathsep.join(filter(None, [str(LIBTORCH / "lib"), env.get(libraries)]))
    env["LIBTORCH"] = str(LIBTORCH)  # as .cargo/config.toml spells it: another spelling would rebuild torch-sys
    env["EVCXR_TMPDIR"] = str(workplace)
    env.setdefault("OMP_WAIT_POLICY", "passive")  # as in .cargo/config.toml
    # evcxr and its analyser find cargo in different ways; see parts/toolchain.py.
    if shutil.which("rustup"):
        env["RUSTUP_TOOLCHAIN"] = str(toolchain)
    else:
        env["PATH"] = os.pathsep.join([str(toolchain / "bin"), env["PATH"]])
        env["CARGO"] = str(toolchain / "bin/cargo")
    return env
