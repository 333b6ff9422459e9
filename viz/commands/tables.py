"""Results in words: tables as Markdown, and counts."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from viz.intervals import Estimate


def markdown(rows: Sequence[Mapping[str, Any]], form: str = "{:.1%}") -> str:
    """A Markdown table of a list of dicts with the same keys. form: of fractions; None becomes a dash."""
    columns = list(rows[0])
    text = [[_cell(row[column], column, form) for column in columns] for row in rows]
    numbers = [not isinstance(rows[0][column], str) for column in columns]
    ruler = ["---:" if number else "---" for number in numbers]
    return "\n".join(f"| {' | '.join(line)} |" for line in (columns, ruler, *text)) + "\n"


def counted(count: int, what: str) -> str:
    """ "1 photograph", "2 photographs"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def with_refusals(rows: Sequence[Mapping[str, Any]], refused: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """The rows, and one for each of `refused` ({name: sentence}), with the sentence in its first number's place."""
    name, first, *others = rows[0]
    return [*rows, *({name: one, first: sentence, **dict.fromkeys(others)} for one, sentence in refused.items())]


def _cell(value: Any, column: str, form: str) -> str:
    if value is None:
        return "–"
    if not isinstance(value, float):
        return escaped(value) if isinstance(value, str) else str(value)
    if column == "linf":
        value, form = scaled(value, 255), "{:.1f}/255"
    elif column in ("l2", "l0"):
        form = "{:.3g}" if column == "l2" else "{:,.0f}"
    return value.text(form) if isinstance(value, Estimate) else form.format(value)


def scaled(value: float, factor: float) -> float:
    """A number, or an Estimate with its interval, in other units."""
    if isinstance(value, Estimate):
        return Estimate(factor * value, factor * value.low, factor * value.high)
    return factor * value


def escaped(text: str) -> str:
    """A name from outside (a file's, a class's) as Markdown shows it: no pipe, tag, link or line break of its own."""
    text = re.sub(r"([\\|*`\[\]])", r"\\\1", " ".join(text.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
