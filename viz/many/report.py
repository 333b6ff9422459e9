"""A store to look at: a page (HTML) of the photographs at the extremes, and a contact sheet (PNG) of some in order."""

import base64
import heapq
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from minigrad.nn import Module
from minigrad.serialization import replacing

from ..cam import upsampled
from ..colours import overlay
from ..intervals import estimate
from .photographs import Source, thumbnail
from .store import Store

EACH = 12  # photographs under a heading
ON_SHEET = 24
LISTED = 50  # photographs without an answer that are named
LONGEST = 140  # characters of a setting that is not folded
LARGEST = 224  # pixels of a side, of a picture on the page

HEADINGS = {
    "most sure and wrong": "The network names another class than the folder's, with the highest probability.",
    "least sure": "The lowest probability of the class named.",
    "most sure": "The highest probability of the class named.",
    "maps that agree least": "The lowest mean rank correlation of the maps with each other.",
}


def summary(store: Store) -> dict:
    """{"rows", "errors": how many, "error": the first, "said": the first LISTED of them, "known": how many of a known
    class, "right", "in_top5": 0 or 1 of each of these}."""
    found = {"rows": 0, "errors": 0, "said": [], "right": [], "in_top5": []}
    for rows in store.tables():
        found["rows"] += len(rows)
        wrong = [row for row in rows if row["error"]]
        found["errors"] += len(wrong)
        found["said"] += [f"{row['name']}: {row['error']}" for row in wrong[: LISTED - len(found["said"])]]
        for key in ("right", "in_top5"):
            found[key] += [int(row[key]) for row in rows if row[key]]
    return found | {"known": len(found["right"]), "error": next(iter(found["said"]), "")}


def extremes(store: Store) -> dict:
    """{heading: rows, the most extreme first}, of one pass over the rows."""
    kept = {heading: [] for heading in HEADINGS}
    for rows in store.tables():
        for row in rows:
            for heading, value in heights(row).items():
                entry = (value, -int(row["photograph"]), row)
                (heapq.heappush if len(kept[heading]) < EACH else heapq.heappushpop)(kept[heading], entry)
    return {heading: [row for *_, row in sorted(found, reverse=True)] for heading, found in kept.items() if found}


def heights(row: dict) -> dict:
    """{heading: how extreme the row is}, for those that apply."""
    found = {}
    if row["probability"]:
        found = {"least sure": -float(row["probability"]), "most sure": float(row["probability"])}
        if row["right"] == "0":
            found["most sure and wrong"] = float(row["probability"])
    if row.get("agreement"):
        found["maps that agree least"] = -float(row["agreement"])
    return found


def write(store: Store, source: Source, model: Module) -> None:
    """Write report.html and contact_sheet.png into the store's folder."""
    shown = extremes(store)
    spread = [store[int(n)][0] for n in sheet_places(store)]
    wanted = sorted({int(row["photograph"]) for rows in (*shown.values(), spread) for row in rows if not row["error"]})
    files = {place: file for place, file in source.files(wanted) if isinstance(file, bytes)}
    drawn = {place: strip(store, model, place, file) for place, file in files.items()}
    names = class_names(source, model)
    with replacing(store.path / "report.html") as temporary:
        temporary.write_text(page(store, shown, drawn, names), "utf-8")
    with replacing(store.path / "contact_sheet.png") as temporary:
        contact_sheet(spread, drawn, names).save(temporary, format="PNG")


def class_names(source: Source, model: Module) -> dict[str, str]:
    """{folder: the name of its class}, where that is another: by classes.txt, or the network's WordNet ids."""
    known = {label.synset: str(label) for label in model.labels or () if getattr(label, "synset", "")}
    known |= {name: row[0] for name, row in (source.class_rows() or {}).items()}
    return {name: known[name] for name in source.folders if known.get(name, name) != name}


def sheet_places(store: Store) -> Any:
    """Photographs that are there, evenly spaced."""
    taken = (int(row["photograph"]) for rows in store.tables() for row in rows if not row["error"])
    there = np.fromiter(taken, np.int64)
    return there[np.unique(np.linspace(0, len(there) - 1, ON_SHEET).astype(int))] if len(there) else []


def strip(store: Store, model: Module, place: int, file: bytes) -> dict:
    """[(caption, PIL image)]: the photograph, each map over it, and what attacks made of it."""
    from PIL import Image

    picture, (_, arrays) = thumbnail(model, file), store[place]
    cells = [("photograph", picture)]
    for name, array in arrays.items():
        if array.ndim == 2:
            heat = upsampled_map(array, picture.shape[1:])
            cells.append((name, overlay(picture, heat).transpose(2, 0, 1)))
        elif array.dtype == np.uint8:
            cells.append((name, np.broadcast_to(array / np.float32(255), picture.shape)))
    found = []
    for caption, cell in cells:
        image = Image.fromarray(np.rint(255 * np.clip(cell, 0, 1)).astype(np.uint8).transpose(1, 2, 0))
        image.thumbnail((LARGEST, LARGEST))
        times = max(1, LARGEST // 2 // max(image.size))  # a small network's: captions stand below it
        image = image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
        found.append((caption, image))
    return found


def upsampled_map(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """(H,W) of a map (h,w) of a layer."""
    import minigrad as mg

    if array.shape == tuple(size):
        return array
    return upsampled(mg.from_numpy(array[None].astype(np.float32)), np.zeros((1, 3, *size), np.float32))[0]


def contact_sheet(rows: list, drawn: Any, names: Mapping[str, str]) -> Image.Image:
    """A PIL image: a line for each photograph, two lines side by side."""
    from PIL import Image, ImageDraw

    from ..sheet import FAINT, GROUND, INK, SMALL, _font

    strips = [(row, drawn[int(row["photograph"])]) for row in rows if int(row["photograph"]) in drawn]
    if not strips:
        return Image.new("RGB", (1, 1), GROUND)
    width = max(sum(cell.width + 4 for _, cell in cells) for _, cells in strips) + 24
    height = max(cell.height for _, cells in strips for _, cell in cells) + 2 * SMALL + 14
    columns = max(1, round((len(strips) * height / width) ** 0.5))
    lines = -(-len(strips) // columns)
    sheet = Image.new("RGB", (columns * width + 24, lines * height + 2 * SMALL + 12), GROUND)
    draw = ImageDraw.Draw(sheet)
    for n, (row, cells) in enumerate(strips):
        left, top = 24 + n // lines * width, 2 * SMALL + 6 + n % lines * height
        draw.text((left, top), caption_of(row, names), INK, _font(SMALL))
        for caption, cell in cells:
            if n % lines == 0:
                draw.text((left, 6), caption, FAINT, _font(SMALL))
            sheet.paste(cell, (left, top + SMALL + 8))
            left += cell.width + 4
    return sheet


def caption_of(row: dict, names: Mapping[str, str]) -> str:
    """ "zebra (p = 0.93)", "zebra (p = 0.93), wrong: tench"."""
    share = f" (p = {float(row['probability']):.3g})" if row["probability"] else ""
    wrong = f", wrong: {names.get(row['class'], row['class'])}" if row["right"] == "0" else ""
    return f"{row['named'] or row['name'].rpartition('/')[2]}{share}{wrong}"


# ---- the page --------------------------------------------------------------------------------------------------------

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; color: #222 }
h2 { margin: 2em 0 0 } p { margin: .3em 0 1em; color: #555 }
.all { display: flex; flex-wrap: wrap; gap: 1.2em } figure { margin: 0 } .row { display: flex; gap: 4px }
.row div { font-size: 11px; color: #777 } img { display: block; height: 150px } figcaption { font-size: 13px }
table { border-collapse: collapse } td, th { text-align: left; padding: .1em 1em .1em 0; vertical-align: top }
code { overflow-wrap: anywhere } .wrong { color: #b00020 }
"""


def page(store: Store, shown: Any, drawn: Any, names: Mapping[str, str]) -> str:
    """The HTML, which needs no other file. drawn: {place: cells of `strip`}; names: of `class_names`."""
    question, runs = store.facts["question"], store.facts["runs"]
    parts = [f"<h1>{escape(store.path.name)}</h1>", facts_table(summary(store), question, runs)]
    for heading, rows in shown.items():
        figures = [figure(row, drawn[int(row["photograph"])], names) for row in rows if int(row["photograph"]) in drawn]
        parts += [f"<h2>{heading}</h2><p>{HEADINGS[heading]}</p>", f'<div class="all">{"".join(figures)}</div>']
    head = f'<meta charset="utf-8"><title>{escape(store.path.name)}</title><style>{STYLE}</style>'
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def facts_table(found: dict, question: dict, runs: Any) -> str:
    """What was computed with what, and what came of it, as a table."""
    rows = {"photographs": f"{found['rows']}, {found['errors']} of them without an answer"}
    if found["said"]:
        more = found["errors"] - len(found["said"])
        rows["without an answer"] = "; ".join(found["said"]) + (f"; and {more} more, in table.csv" if more else "")
    if found["known"]:
        rows["right"] = estimate(found["right"]).text("{:.1%}")
        rows["right among five"] = estimate(found["in_top5"]).text("{:.1%}")
    rows["techniques"] = "; ".join(
        name + (f", {in_words(options)}" if options else "") for name, options in question["techniques"].items()
    )
    rows |= {"explained": question["target"], "seed": question["seed"]}
    rows |= {f"weights: {key}": in_words(value) for key, value in question["weights"].items()}
    last = runs[-1]
    rows |= {"version": question["version"], "code": f"sha256 {last['code_sha256']}", "command": last["command"]}
    seconds = sum(run.get("seconds", 0) for run in runs)
    rows["computed"] = f"in {len(runs)} run{'s' * (len(runs) > 1)}, {seconds:.0f} seconds, to {last['began']}"
    for who, memory in last.get("memory_of", {}).items():
        sizes = f"{memory['peak'] / 2**20:.0f} MiB at most, {memory['prepared'] / 2**20:.0f} of them prepared weights"
        rows[f"memory of {who}"] = sizes
    body = "".join(f"<tr><th>{escape(str(key))}</th><td>{folded(str(value))}</td></tr>" for key, value in rows.items())
    return f"<table>{body}</table>"


def folded(text: str) -> str:
    """The text as HTML; of a long one its beginning, which opens to the whole."""
    whole = f"<code>{escape(text)}</code>"
    if len(text) <= LONGEST:
        return whole
    return f"<details><summary><code>{escape(text[:LONGEST])} ...</code></summary>{whole}</details>"


def in_words(setting: Any, inside: bool = False) -> str:
    """ "epochs 32, sizes (48, 64), augmentation (flip true, area (0.35, 1.0))" of what JSON holds."""
    if isinstance(setting, dict):
        text = ", ".join(f"{key} {in_words(value, True)}" for key, value in setting.items())
    elif isinstance(setting, list):
        text = ", ".join(in_words(value, True) for value in setting)
    elif setting is None or isinstance(setting, bool):
        return str(setting).lower()
    else:
        return str(setting)
    return f"({text})" if inside else text


def figure(row: dict, cells: Any, names: Mapping[str, str]) -> str:
    pictures = "".join(
        f'<div>{escape(caption)}<img alt="{escape(caption)}" src="{as_url(cell)}"></div>' for caption, cell in cells
    )
    name = f"{names[row['class']]}: {row['name']}" if row["class"] in names else row["name"]
    said = [escape(name), f"named {escape(row['named'])}, p = {float(row['probability'] or 'nan'):.4g}"]
    if row["right"] == "0":
        said[1] = f'<span class="wrong">{said[1]}</span>'
    if row.get("agreement"):
        said.append(f"agreement {float(row['agreement']):.2f}")
    return f'<figure><div class="row">{pictures}</div><figcaption>{"<br>".join(said)}</figcaption></figure>'


def as_url(image: Any) -> str:
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
