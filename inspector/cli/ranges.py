"""`--context 4k,32k --dtype bf16,fp8`: a model, or several, as tables over ranges of settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from inspector.cli.output import EXIT_CANNOT_TELL, Output
from inspector.errors import InspectError, UsageError

if TYPE_CHECKING:
    from inspector.api.grid import Grid, Plan
    from inspector.api.settings import DesignSettings
    from inspector.record import Record

Given = Mapping[str, Any]


def show_ranges(
    models: Sequence[str], ranges: Given, settings: Given, access: Given, out: Output, alone: Given, *, check: bool
) -> int:
    """What `show` prints of ranges; the exit code.

    Args:
        ranges: setting -> its values.
        settings: the others.
        access: token, offline and revision.
        alone: options that no table has, with their values.
        check: the exit code is that of the verdicts: every cell has to fit.
    """
    from inspector.api.grid import GridQuestion, inference_plan

    _refuse(alone)
    question = GridQuestion(model="", ranges=ranges, **settings)
    cells = [cell for grid in _printed(models, inference_plan(question), question, out, access) for cell in grid.cells]
    return out.verdicts([cell.fits for cell in cells]) if check else out.exit_code


def fit_ranges(models: Sequence[str], ranges: Given, settings: Given, access: Given, out: Output, alone: Given) -> int:
    """What `fit` prints of ranges; 0 where every cell fits."""
    if len(models) > 1:
        raise UsageError("fit answers for one model", "Tables of several: show --check.")
    return show_ranges(models, ranges, settings, access, out, alone, check=True)


def train_ranges(
    model: str, ranges: Given, settings: Given, access: Given, out: Output, alone: Given, *, check: bool
) -> int:
    """What `train` prints of ranges; 4 where no cell's peak is known."""
    from inspector.api.grid import TrainingGridQuestion, training_plan

    _refuse(alone)
    question = TrainingGridQuestion(model="", ranges=ranges, **settings)
    plan = training_plan(question)
    if question.reference_repo is not None:
        from inspector.api.companions import with_companions
        from inspector.api.settings import Access

        named = Access(token=access["token"], offline=access["offline"])
        plan = training_plan(with_companions(question, named))
    for grid in _printed((model,), plan, question, out, access):
        if check:
            return out.verdicts(grid.fits)
        return out.comes_to(0 if any(cell.total is not None for cell in grid.cells) else EXIT_CANNOT_TELL)
    return out.exit_code


def _refuse(alone: Given) -> None:
    """Raises:
    UsageError: one of these options is given.
    """
    for name, value in alone.items():
        if value:
            raise UsageError(f"--{name} is about one setting of each, and no table has it", f"Leave out --{name}.")


def _printed(models: Sequence[str], plan: Plan, asked: DesignSettings, out: Output, access: Given) -> list[Grid]:
    """The tables of those models that could be read, printed; of the others the error."""
    from inspector.api.inspection import checkpoint_of
    from inspector.hub import Resolver

    found: list[Grid | InspectError] = []
    with out.waiting(*models), Resolver(token=access["token"], offline=access["offline"]) as resolver:
        for model in models:
            try:
                found.append(plan.answer(checkpoint_of(resolver, model, access["revision"], asked)))
            except InspectError as error:
                found.append(error)
    for name, outcome in zip(models, found, strict=True):
        if isinstance(outcome, InspectError):
            out.error(outcome, name)
        else:
            out.notes(outcome.warnings, name if len(models) > 1 else None)
    _write(models, found, out)
    return [outcome for outcome in found if not isinstance(outcome, InspectError)]


def _write(models: Sequence[str], found: Sequence[Grid | InspectError], out: Output) -> None:
    from inspector.record import error_record, grid_record
    from inspector.report.writers import Answer

    def records() -> list[Record]:
        pairs = zip(models, found, strict=True)
        return [error_record(name, one) if isinstance(one, InspectError) else grid_record(one) for name, one in pairs]

    def text() -> None:
        from inspector.report.grid import print_grid

        for at, record in enumerate(record for record in records() if "error" not in record):
            if at:
                out.console.print()
            print_grid(out.console, record)

    out.write(Answer(models, records, text, array=len(models) > 1))
