"""Rows of numbers that a notebook shows as a table."""

from html import escape
from typing import Any

from .intervals import Estimate


class Table(list):
    """A list of dicts of numbers, one a row; a notebook draws it. Nested dicts become columns "outer inner"."""

    def _repr_html_(self) -> str:
        rows = [_flat(row) for row in self]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        head = "".join(f"<th>{escape(name)}</th>" for name in columns)
        body = "".join(f"<tr>{''.join(_cell(row.get(name)) for name in columns)}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _flat(row: dict) -> dict:
    found = {}
    for name, value in row.items():
        nested = isinstance(value, dict)
        found |= {f"{name} {inner}": v for inner, v in value.items()} if nested else {str(name): value}
    return found


def _number(value: Any) -> str:
    return value.text("{:.4g}") if isinstance(value, Estimate) else f"{value:.4g}"


def _cell(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = "" if value is None else _number(value) if isinstance(value, float) else str(value)
    return f'<td style="text-align:{"right" if number else "left"}">{escape(text)}</td>'
