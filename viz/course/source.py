"""A stage's file, and what is made from it: the page, the stub, the solution, the notebook.

The file is the solution, and its docstring is the page, in Markdown: a title, the aim in a sentence, minutes and
difficulty, sections. What a student writes stands between two comments, and the stub has the first one's words instead:

    # YOURS: what is to be done here
    ...
    # END
"""

import ast
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

FOLDER = Path(__file__).parent / "stages"
NAMES = ("number", "arrays", "tensor", "learning", "convolution", "network", "rules", "images")
CUT = re.compile(r"^( *)# YOURS: (.*)\n(?:.*\n)*?\1# END\n", re.MULTILINE)


@dataclass(frozen=True)
class Stage:
    """The stage `number`, from 1; `name`.py is its file, here and in a student's folder."""

    number: int
    name: str

    @cached_property
    def text(self):
        """The whole file."""
        return (FOLDER / f"{self.name}.py").read_text("utf-8")

    @property
    def file(self):
        return f"{self.name}.py"

    @property
    def page_file(self):
        return f"{self.number}-{self.name}.md"

    @cached_property
    def _page(self):
        """The docstring without its hints, and the hints."""
        text, _, hints = ast.get_docstring(ast.parse(self.text)).partition("## Hints\n")
        return text.strip(), [" ".join(hint.split()) for hint in re.split(r"^\d+\. ", hints, flags=re.MULTILINE)[1:]]

    @cached_property
    def needs(self):
        """The stages whose files this one imports, and what they import, in order."""
        imported = re.findall(r"^from (\w+) import", self.code(), re.MULTILINE)
        direct = [stage for stage in STAGES if stage.name in imported]
        return sorted({need for stage in direct for need in (stage, *stage.needs)}, key=lambda stage: stage.number)

    @property
    def title(self):
        return self._page[0].splitlines()[0]

    @property
    def hints(self):
        return self._page[1]

    def page(self):
        """The page in Markdown, with what is to be written and how to check it."""
        text, _ = self._page
        body = text.partition("\n")[2].strip()
        before, heading, after = body.partition("## When it works\n")
        written = f"## What you write\n\nIn `{self.file}`:\n\n```py\n{self._outline()}```\n\n"
        check = f"`python -m viz course check {self.number}` says what is right, or which mistake it is; "
        hint = f"`python -m viz course hint {self.number}` helps one step at a time.\n\n"
        return f"# {self.number}. {self.title}\n\n{before}{written}{check}{hint}{heading}{after}\n"

    def code(self):
        """What stands below the page."""
        end = ast.parse(self.text).body[0].end_lineno
        return "".join(self.text.splitlines(keepends=True)[end:]).lstrip("\n")

    @property
    def _gap(self):
        return "" if self.code().startswith(("import", "from")) else "\n"

    def _head(self):
        return f'"""{self.number}. {self.title}: see {self.page_file}."""\n\n{self._gap}'

    def solution(self):
        """The file with all of it written."""
        lines = self.code().splitlines(keepends=True)
        return self._head() + "".join(line for line in lines if not re.match(r" *# (YOURS: .*|END)\n", line))

    def stub(self):
        """The file as a student gets it."""
        return self._head() + self._cut()

    def _cut(self):
        return CUT.sub(lambda found: f'{found[1]}raise NotImplementedError("{found[2]}")\n', self.code())

    def _outline(self):
        """Signatures and docstrings of what is to be written, each within its class."""
        lines, code = [], self._cut()
        source = code.splitlines()
        for node in ast.parse(code).body:
            members = node.body if isinstance(node, ast.ClassDef) else [node]
            found = [member for member in members if _is_stub(member)]
            if found and isinstance(node, ast.ClassDef):
                lines += [*source[node.lineno - 1 : node.body[0].end_lineno], ""]
            for member in found:
                has_doc = ast.get_docstring(member) is not None
                end = member.body[0].end_lineno if has_doc else member.body[0].lineno - 1
                lines += [*source[member.lineno - 1 : end], ""]
        return "\n".join(lines).rstrip() + "\n"

    def notebook(self, solved):
        """The stage as a notebook (nbformat 4, a dict): the page, then the stub or the solution, then the check."""
        code = (self.solution() if solved else self.stub()).partition("\n\n")[2]
        check = f"import sys\n!{{sys.executable}} -m viz course check {self.number}"
        cells = [("markdown", self.page()), ("code", f"%%writefile {self.file}\n{code}"), ("code", check)]
        return {
            "cells": [_cell(i, *c) for i, c in enumerate(cells)],
            "metadata": {},
            "nbformat": 4,
            "nbformat_minor": 5,
        }


def _is_stub(node):
    last = node.body[-1] if isinstance(node, ast.FunctionDef) else None
    return isinstance(last, ast.Raise) and "NotImplementedError" in ast.dump(last)


def _cell(number, kind, text):
    cell = {"cell_type": kind, "id": f"cell-{number:02}", "metadata": {}, "source": text.splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


STAGES = tuple(Stage(number, name) for number, name in enumerate(NAMES, 1))
