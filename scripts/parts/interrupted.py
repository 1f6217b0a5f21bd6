"""Interrupts a cell as Jupyter does, in the middle of long work that keeps what is finished, and tells what is left.

    .venv/bin/python scripts/parts/interrupted.py FOLDER

Prints JSON: `progress`, what the cell had printed; `said`, its error; `seconds` from the interrupt to the next prompt; `after`, what the
kernel makes of another cell; `variable`, of one that uses a variable from before; `item`, of one that uses a function from before; `files`
in FOLDER when interrupted; `again`, of a cell that needs only these; `changed`, which of them it wrote anew.
"""

import json
import sys
import time
from pathlib import Path
from queue import Empty

from jupyter_client.manager import KernelManager

HERE = Path(__file__).resolve()
NOTEBOOKS = HERE.parents[2] / "notebooks"
SETUP = """let kept = 41;
fn doubled(x: i64) -> i64 { 2 * x }"""
LONG = """let (train, test) = dataset::digits()?.split(1_000, 100, 0)?;
let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10]));
let halves = Subsets::fraction(&train, 0.5, 4_000, 0)?CHOSEN;
let retraining = Retraining { trainer: Trainer { epochs: 10, ..default() }, ..default() }.cached("FOLDER");
println!("{:?}", retraining.run(&task, &train, &test, &halves)?.tensor().size());"""


def files(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}


class Kernel:
    def __init__(self):
        self.manager = KernelManager(kernel_name="rust")
        self.manager.start_kernel(cwd=str(NOTEBOOKS))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=1800)

    def start(self, code):
        self.client.execute(code)

    def finish(self, until=None, timeout=900):
        """What the running cell says until it is idle, or until `until()` is true."""
        said, end = [], time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                message = self.client.get_iopub_msg(timeout=0.3)
            except Empty:
                message = None
            if message is not None:
                kind, content = message["msg_type"], message["content"]
                if kind == "stream":
                    said.append(content["text"])
                elif kind == "execute_result":
                    said.append(content["data"].get("text/plain", ""))
                elif kind == "error":
                    said.append("\n".join([content["ename"], content["evalue"], *content["traceback"]]))
                elif kind == "status" and content["execution_state"] == "idle" and message["parent_header"].get("msg_type") == "execute_request":
                    return "".join(said)
            if until is not None and until("".join(said)):
                return "".join(said)
        raise TimeoutError("".join(said))

    def run(self, code):
        self.start(code)
        return self.finish()


def main():
    folder = Path(sys.argv[1])
    facts, kernel = {}, Kernel()
    try:
        kernel.run(SETUP)
        long = LONG.replace("FOLDER", str(folder))
        kernel.start(long.replace("CHOSEN", ""))
        facts["progress"] = kernel.finish(until=lambda said: len(files(folder)) > 3 and "retraining" in said)
        kernel.manager.interrupt_kernel()
        begun = time.monotonic()
        facts["said"] = kernel.finish()
        facts["seconds"] = time.monotonic() - begun
        before = files(folder)
        facts["files"] = len(before)
        facts["after"] = kernel.run("1 + 1")
        facts["variable"] = kernel.run("kept + 1")
        facts["item"] = kernel.run("doubled(21)")
        done = sorted(int(name.split("-")[0]) for name in before)[:4]
        facts["again"] = kernel.run(long.replace("CHOSEN", f".select(&{done})?"))
        after = files(folder)
        facts["changed"] = [name for name, written in before.items() if after.get(name) != written]
    finally:
        kernel.manager.shutdown_kernel(now=True)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
