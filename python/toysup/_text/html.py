"""How results look in a notebook: plain tables that fit light and dark pages."""

from __future__ import annotations

import html
from typing import Any

__all__ = ["table"]


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A table of texts, which are escaped."""

    def line(tag: str, cells: list[Any]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in cells) + "</tr>"

    body = "".join(line("td", row) for row in rows)
    return f"<table><thead>{line('th', head)}</thead><tbody>{body}</tbody></table>"
