"""An SVG plot as PNG, drawn by resvg (the extra `plot`)."""

from __future__ import annotations

from inspector.errors import UsageError

ZOOM = 2
"""Pixels for each of the SVG's."""

_LETTER = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><text x="2" y="16">M</text></svg>'
_NOTHING = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"/>'


def check_png() -> None:
    """Raises:
    UsageError: resvg is not installed, or there is no font to write with.
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise UsageError(
            "a plot as .png needs resvg_py", "Install it: pip install 'resvg_py>=0.5'. Or write a .svg."
        ) from None
    if svg_to_bytes(svg_string=_LETTER) == svg_to_bytes(svg_string=_NOTHING):
        raise UsageError("this machine has no font to write with", "Install one (fonts-dejavu), or write a .svg.")


def png_of(svg: str) -> bytes:
    """The pixels, light.

    Raises:
        UsageError: as of `check_png`.
    """
    check_png()
    from resvg_py import svg_to_bytes

    return bytes(svg_to_bytes(svg_string=svg, zoom=ZOOM))
