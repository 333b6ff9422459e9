"""Write the course's pages and notebooks from viz/course/stages: python docs/course/pages.py"""

import json
from pathlib import Path

from viz.course.source import STAGES

FOLDER = Path(__file__).parent


def files():
    """{name: text} of all that is made: pages, notebooks with stubs, and notebooks with solutions."""
    made = {stage.page_file: stage.page() for stage in STAGES}
    for stage in STAGES:
        for kind, solved in (("stub", False), ("solution", True)):
            notebook = json.dumps(stage.notebook(solved), indent=1, ensure_ascii=False) + "\n"
            made[f"notebooks/{stage.number}-{stage.name}-{kind}.ipynb"] = notebook
    return made


if __name__ == "__main__":
    (FOLDER / "notebooks").mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, "utf-8")
