"""The commands `cache info` and `cache clear`: the answers that are kept between runs."""

from __future__ import annotations

import click

from inspector.cli.output import Output, json_option


@click.group()
def cache() -> None:
    """The answers that are kept between runs, so that a model is read once a commit."""


@cache.command()
@json_option
def info(output: str) -> int:
    """Where it is and how much it holds."""
    from datetime import datetime, timezone

    from inspector.hub.cache.store import SIZE_VARIABLE, cache_limit
    from inspector.hub.cache.upkeep import cache_info
    from inspector.hub.client.settings import Settings
    from inspector.report.units import bytes_text, inert
    from inspector.report.writers import Answer

    found = cache_info(Settings.of().cache, cache_limit())
    oldest = None if found.oldest is None else datetime.fromtimestamp(int(found.oldest), timezone.utc).isoformat()
    record = {
        "schema": 1,
        "folder": str(found.folder),
        "entries": found.entries,
        "repos": found.repos,
        "bytes": found.bytes,
        "oldest": oldest,
        "limit": found.limit,
    }

    def text() -> None:
        click.echo(f"folder   {inert(str(found.folder))}")
        click.echo(f"entries  {found.entries:,} of {found.repos:,} model{'' if found.repos == 1 else 's'}")
        click.echo(f"size     {bytes_text(found.bytes)} of about {bytes_text(found.limit)} ({SIZE_VARIABLE})")
        if oldest is not None:
            click.echo(f"oldest   used {oldest}")

    out = Output(output)
    out.write(Answer((), lambda: [record], text))
    return out.exit_code


@cache.command()
@click.argument("models", metavar="[MODEL]...", nargs=-1)
def clear(models: tuple[str, ...]) -> int:
    """Remove all that is kept, or what is kept of some models (org/name). Nothing else is touched."""
    from inspector.hub.cache.upkeep import clear as remove
    from inspector.hub.client.settings import Settings
    from inspector.hub.repo_id import parse_repo
    from inspector.report.units import bytes_text

    folder = Settings.of().cache
    names = [parse_repo(model).name for model in models]
    removed = [remove(folder, name) for name in names] if names else [remove(folder)]
    count, size = sum(each[0] for each in removed), sum(each[1] for each in removed)
    click.echo(f"removed {count:,} answer{'' if count == 1 else 's'}, {bytes_text(size)}")
    return 0
