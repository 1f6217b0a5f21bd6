"""Filters the answer of `cargo metadata`: standard input to standard output; the argument lists the crates to keep."""

import json
import sys
from pathlib import Path


def trimmed(metadata, keep):
    """Without the packages that are neither local nor in `keep`; whole, if the cells depend on more than `ascribe`."""
    local = [package for package in metadata["packages"] if package["source"] is None]
    cells = [package for package in local if package["id"] in metadata["workspace_members"]]
    if any((dependency.get("rename") or dependency["name"]) != "ascribe" for package in cells for dependency in package["dependencies"]):
        return metadata
    kept = {package["id"] for package in metadata["packages"]
            if package["source"] is None or f"{package['name']} {package['version']}" in keep}
    metadata["packages"] = [package for package in metadata["packages"] if package["id"] in kept]
    resolve = metadata.get("resolve") or {"nodes": []}
    resolve["nodes"] = [node for node in resolve["nodes"] if node["id"] in kept]
    for node in resolve["nodes"]:
        node["dependencies"] = [dependency for dependency in node["dependencies"] if dependency in kept]
        node["deps"] = [dependency for dependency in node["deps"] if dependency["pkg"] in kept]
    return metadata


def main():
    answer = sys.stdin.read()
    try:
        keep = set(Path(sys.argv[1]).read_text().splitlines())
        answer = json.dumps(trimmed(json.loads(answer), keep)) + "\n"
    except (OSError, ValueError, KeyError):
        pass  # cargo failed, or answers in a form this does not know: the reader gets what cargo said
    sys.stdout.write(answer)


if __name__ == "__main__":
    main()
