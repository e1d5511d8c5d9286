"""A whole page in one file: style sheet and scripts within, and a policy that lets it load and run nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files

from inspector.report.html.element import Element, element, markup
from inspector.version import __version__

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./charts\.js";\n', re.MULTILINE)
DATA_START, DATA_END = '<script type="application/json" id="data">', "</script>"
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def document(title: str, body: Element, data: str) -> str:
    """A page as text.

    Args:
        title: of the window.
        body: what stands in it, readable without the script.
        data: JSON that the script draws with.
    """
    begin, end = frame(title)
    return f"{begin}{markup(body)}{''.join(data_block([data]))}{end}"


def frame(title: str) -> tuple[str, str]:
    """A page's text before and after what stands in it."""
    style, script = asset("style.css"), asset("charts.js") + _IMPORT.sub("", asset("report.js"))
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="generator", content=f"llm-inspect {__version__}"),
        element("title", title[:200]),
    )
    buttons = (
        element("button", "Dark", type="button", id="theme", aria_pressed="false"),
        element("button", "Unfold all", type="button", id="unfold"),
    )
    bar = element("div", *buttons, class_="bar no-print", hidden=True)
    foot = element("footer", f"llm-inspect {__version__}. Sizes are binary: 1 GiB is 2^30 bytes.", class_="quiet")
    begin = (
        f'<!doctype html>\n<html lang="en">{markup(head).removesuffix("</head>")}<style>{style}</style></head>\n<body>'
    )
    end = f'{markup(foot)}<script type="module">{script}</script></body></html>\n'
    return begin + markup(bar), end


def data_block(pieces: Iterable[str]) -> Iterator[str]:
    """JSON for the script, in which nothing can end the element or begin another."""
    yield DATA_START
    for piece in pieces:
        yield piece.translate(_ESCAPES)
    yield DATA_END


@cache
def asset(name: str) -> str:
    """A file of this folder."""
    return files("inspector.report.html").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
