"""The page of `llm-inspect web`: one function that answers it, a server on this machine, and the page's own files."""

from inspector.web.answer import answer

__all__ = ["answer"]
