"""libtorch 2.13.0: the user's own, that of a Python torch, or the one inside the PyPI wheels."""

import contextlib
import os
import platform
import re
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .paths import CACHE, LIBTORCH, PYTHON, ROOT
from .steps import Stop, locked, output_of, run, step

VERSION = "2.13.0"


@dataclass
class Wheels:
    platforms: list  # wheel platform tags
    pins: dict       # requirement -> sha256 of its wheel


# Tried on x86-64 Linux. The other two are pinned and unpack by the same rule, read off the wheels and never run here.
WHEELS = {
    ("Linux", "x86_64"): Wheels(
        ["manylinux_2_28_x86_64", "manylinux_2_25_x86_64", "manylinux_2_17_x86_64"],
        {
            "torch==2.13.0": "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7",
            "nvidia-cuda-runtime==13.0.96": "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
            "nvidia-cuda-cupti==13.0.85": "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
        },
    ),
    ("Linux", "aarch64"): Wheels(
        ["manylinux_2_28_aarch64", "manylinux_2_25_aarch64", "manylinux_2_17_aarch64"],
        {
            "torch==2.13.0": "092790c696a760c729fd5722835f50b9d81fd7c8f141571f3f3cf4081a8f664c",
            "nvidia-cuda-runtime==13.0.96": "ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55",
            "nvidia-cuda-cupti==13.0.85": "796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151",
        },
    ),
    ("Darwin", "arm64"): Wheels(
        ["macosx_14_0_arm64"],
        {"torch==2.13.0": "e76f9bcecc52b8ff711239a2f7547d5353df95878ab232f0773c1d95928b92f8"},
    ),
}

# libtorch_cpu.so of the Linux wheels is linked against these two; nothing else of CUDA is needed without a GPU.
CUDA_LIBRARIES = re.compile(r"nvidia/cu13/lib/(libcudart\.so\.13|libcupti\.so\.13)$")
TORCH_LIBRARIES = re.compile(r"torch/lib/([^/]+\.(so(\.\d+)*|dylib))$")
NOT_FOR_CPU = re.compile(r"cuda|nvrtc|nvshmem|python|shm|global_deps")


def libtorch():
    """Makes `.libtorch` point at a libtorch of the right version."""
    with step(f"libtorch {VERSION}") as this:
        chosen = from_environment() or from_python() or present()
        if chosen is None:
            chosen = CACHE / f"libtorch-{VERSION}-cpu"
            with locked(CACHE):
                if not chosen.is_dir():
                    this.start("downloading the PyPI wheels, 0.5 GB")
                    unpack_wheels(chosen)
                    this.say("unpacked")
        if link(chosen):
            this.say(f"using {chosen}")


def from_environment():
    if not os.environ.get("LIBTORCH"):
        return None
    return checked(Path(os.environ["LIBTORCH"]).resolve(), "LIBTORCH")


def from_python():
    if not os.environ.get("LIBTORCH_USE_PYTORCH"):
        return None
    python = "python" if os.environ.get("VIRTUAL_ENV") else "python3"
    folder = output_of([python, "-c", "import torch, os; print(os.path.dirname(torch.__file__))"])
    if folder is None:
        raise Stop(f"LIBTORCH_USE_PYTORCH is set, but `{python}` cannot import torch")
    return checked(Path(folder), "LIBTORCH_USE_PYTORCH")


def present():
    """The libtorch of an earlier set-up."""
    folder = LIBTORCH.resolve()
    return folder if version_of(folder) == VERSION else None


def checked(folder, variable):
    found = version_of(folder)
    if found != VERSION:
        raise Stop(f"{variable} leads to {folder}, which holds {found and 'libtorch ' + found or 'no libtorch'}; "
                   f"{VERSION} is needed. Unset {variable} to let set-up fetch it.")
    return folder


def version_of(folder):
    """The version of the libtorch in a folder, or None."""
    with contextlib.suppress(OSError):
        return (folder / "build-version").read_text().strip().split("+")[0]
    with contextlib.suppress(OSError, TypeError):  # a Python torch has no such file
        header = (folder / "include/torch/headeronly/version.h").read_text()
        return ".".join(re.search(rf"define TORCH_VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH"))
    return None


def unpack_wheels(folder):
    """Downloads and unpacks beside the final place, then renames: a folder of the final name is always whole."""
    wheels = WHEELS.get((platform.system(), platform.machine()))
    if wheels is None:
        raise Stop(f"no libtorch wheel is known for {platform.system()} {platform.machine()}; "
                   f"install libtorch {VERSION} and set LIBTORCH to its folder")
    for stale in CACHE.glob("libtorch-*.part"):
        shutil.rmtree(stale)
    downloads, part = CACHE / "wheels", Path(f"{folder}.part")
    download(wheels, downloads)
    for wheel in sorted(downloads.glob("*.whl")):
        unpack(wheel, part)
    if platform.system() == "Linux":
        # The wheel's libtorch.so also asks for the CUDA half; a linker script asks for the CPU half alone.
        (part / "lib/libtorch.so").write_text("INPUT(libtorch_cpu.so)\n")
    (part / "build-version").write_text(f"{VERSION}+cpu\n")
    part.rename(folder)
    shutil.rmtree(downloads)


def download(wheels, folder):
    """Takes the wheels with pip, which checks their sha256 and skips what an interrupted set-up already has."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.writelines(f"{name} --hash=sha256:{sha256}\n" for name, sha256 in wheels.pins.items())
        pins.flush()
        command = [PYTHON, "-m", "pip", "download", "--no-cache-dir", "--disable-pip-version-check",
                   "--require-hashes", "--no-deps", "--only-binary=:all:", "--python-version=311", "--abi=cp311",
                   "--implementation=cp", "--abi=none", "--dest", folder, "--requirement", pins.name]
        command += [f"--platform={tag}" for tag in wheels.platforms]
        if not os.isatty(1):
            command.append("--quiet")
        run(command)


def unpack(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            place = place_of(name)
            if place is not None:
                target = folder / place
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, open(target, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)


def place_of(name):
    """Where a file of a wheel goes in libtorch, or None if it is not wanted."""
    if name.endswith("/"):
        return None
    if name.startswith("torch/include/"):
        return name[len("torch/"):]
    library = TORCH_LIBRARIES.match(name) or CUDA_LIBRARIES.match(name)
    if library and not (name.startswith("torch/") and NOT_FOR_CPU.search(library[1])) and library[1] != "libtorch.so":
        return f"lib/{library[1]}"
    return None


def link(folder):
    """Points `.libtorch` at the folder; true if that is a change."""
    before = LIBTORCH.resolve() if LIBTORCH.is_symlink() else None
    if before == folder.resolve():
        return False
    aside = ROOT / f".libtorch.{os.getpid()}.tmp"
    aside.symlink_to(folder)
    aside.replace(LIBTORCH)
    if before is not None:
        # Cargo sees the same path as before, but what was compiled against the former libtorch is stale.
        run(["cargo", "clean", "--quiet", "--package", "torch-sys"], cwd=ROOT)
    return True
