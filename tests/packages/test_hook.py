"""The pre-commit hook, by pre-commit itself: it installs this repository and runs the hook on a manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packages.test_action import MANIFEST
from tests.packages.tools import ROOT, environment, run_tool

pytestmark = pytest.mark.packages


def test_pre_commit_installs_and_runs_the_hook(tmp_path: Path) -> None:
    env = environment(tmp_path / "home", PRE_COMMIT_HOME=str(tmp_path / "pre-commit"), GIT_CONFIG_GLOBAL="/dev/null")
    repo = tmp_path / "repo"
    repo.mkdir()
    run_tool("git", "init", "--quiet", cwd=repo, env=env)

    def try_repo(parameters: int, code: int) -> str:
        (repo / "models.lock.yaml").write_text(MANIFEST.replace("PARAMETERS", str(parameters)))
        run_tool("git", "add", ".", cwd=repo, env=env)
        return run_tool(
            "pre-commit",
            "try-repo",
            ROOT,
            "llm-inspect-verify",
            "--all-files",
            "--verbose",
            cwd=repo,
            env=env,
            code=code,
        )

    assert "Passed" in try_repo(124_439_808, 0)
    assert "parameters" in try_repo(1, 1)
