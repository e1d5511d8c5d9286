"""A build's hook (hatchling runs it): the wheel has the tables of `inspector.tables.PACKED` in one compressed file.

An editable installation reads the files of the checkout as they are.
"""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    """Makes the packed file, and has the wheel hold it instead of the tables that are in it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the wheel is put together."""
        if version == "editable":
            return
        tables = runpy.run_path(str(Path(self.root, "inspector", "tables.py")))
        data: Path = tables["DATA"]
        found = [path for folder in tables["PACKED"] for path in (data / folder).glob("*.json")]
        texts = {path.relative_to(data).as_posix(): path.read_bytes() for path in found if path.stem != "index"}
        self.made = Path(self.directory, "tables.pack")
        self.made.parent.mkdir(parents=True, exist_ok=True)
        self.made.write_bytes(tables["packed"](texts))
        build_data["force_include"][str(self.made)] = "inspector/data/tables.pack"
        self.build_config.target_config.setdefault("exclude", []).extend(f"/inspector/data/{name}" for name in texts)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """The wheel has it."""
        del build_data, artifact_path
        if version != "editable":
            self.made.unlink()
