"""The server of the page: its files, photographs on their way in, results to keep, and one socket for each tab.

It answers this machine alone, unless another address was asked for, and then those who have the token. A page of
another site can neither ask nor read: Host and Origin must be this server's own.
"""

import asyncio
import ipaddress
import json
import secrets
import socket
import webbrowser
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from models.mistakes import UserError
from viz.colours import table
from viz.target import NoScores

from ..attribution import COMMANDS
from ..command import find
from ..job import Job
from . import believe, fool, inside, look, rather, style, why
from .packed import levels, png
from .room import LARGEST, SAMPLE, Photograph, Room
from .worker import Wish, Worker

ANSWERS = {  # by what the page asks; each f(room, question, wish) -> dict
    "look": look.classes,
    "why": why.attribution,
    "believe": believe.believe,
    "fool": fool.attempt,
    "rather": rather.ascent,
    "style": style.style,
    **inside.ANSWERS,
}
# the techniques whose results can be kept
RESULTS = ("classify", "activations", "attack", "trust", "maximize", "dream", "switch_off", "style_transfer", *COMMANDS)
VIEWS = ("/", "/look", "/why", "/inside", "/rather", "/fool", "/style")
PAGE, GALLERY = files(__package__) / "page", files("viz.commands.gallery")
KINDS = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".png": "image/png",
    ".npz": "application/zip",
}
MOST_AT_ONCE = 60  # wishes of a tab in one message
RULES = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def serve(job: Job) -> None:
    """Serve the page until Ctrl-C. job: of the command."""
    args = job.args
    room = Room(job)
    try:
        listening = socket.create_server((args.host, args.port))
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot listen on {args.host}, port {args.port} ({why}): --port 0 takes one that is free"
        ) from None
    port = listening.getsockname()[1]
    token = None if is_local(args.host) else secrets.token_urlsafe(24)
    shown = "127.0.0.1" if is_local(args.host) else args.host if args.host != "0.0.0.0" else socket.gethostname()
    address = f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
    print(f"explore: {address} (Ctrl-C ends it)", flush=True)
    if not args.no_browser:
        webbrowser.open(address)
    config = uvicorn.Config(
        guarded(application(room), port, token),
        log_level="warning",
        ws_max_size=2**18,
        timeout_graceful_shutdown=1,
        lifespan="off",
    )
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        job.code = 0
        print("explore: ended", flush=True)


def is_local(host: str) -> bool:
    """Whether nobody else can reach an address: 127.0.0.1, ::1, localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# ---- who may ask -----------------------------------------------------------------------------------------------------


def guarded(app: ASGIApp, port: int, token: str | None) -> ASGIApp:
    """The application behind its checks: Host, Origin, and where there is a token, that."""
    names = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await app(scope, receive, send)
        connection = HTTPConnection(scope)
        host, origin = connection.headers.get("host", ""), connection.headers.get("origin")
        asks = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        wrong = host not in names and token is None
        if wrong or origin is not None and origin != f"http://{host}" or asks and origin is None:
            return await refuse(scope, receive, send, 403, "this address is not explore's own")
        if token is not None and not secrets.compare_digest(connection.cookies.get("explore", ""), token):
            given = connection.query_params.get("token", "")
            if scope["type"] != "http" or not secrets.compare_digest(given.encode(), token.encode()):
                return await refuse(scope, receive, send, 403, "explore asks for the address that it printed")
            answer = RedirectResponse(scope["path"])
            answer.set_cookie("explore", token, httponly=True, samesite="strict")
            return await answer(scope, receive, send)
        await app(scope, receive, send)

    return guard


async def refuse(scope: Scope, receive: Receive, send: Send, status: int, sentence: str) -> None:
    """Answer with a sentence: a page of this status, or the reason why a socket is closed."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": sentence})
    else:
        await PlainTextResponse(sentence, status, RULES)(scope, receive, send)


# ---- what can be asked -----------------------------------------------------------------------------------------------


def application(room: Room) -> Starlette:
    """The Starlette application of a Room, with a Worker of its own."""
    answers = Answers(room)
    routes = [Route(view, page) for view in VIEWS]
    routes += [
        Route("/page/{name}", page),
        Route("/photographs", answers.add, methods=["POST"]),
        Route("/photographs/{key}.png", answers.photograph),
        Route("/keep/{name}.{suffix:str}", answers.keep),
        WebSocketRoute("/talk", answers.talk),
    ]
    return Starlette(routes=routes)


async def page(request: Request) -> Response:
    """A file of the page; the page itself for a view."""
    name = request.path_params.get("name", "index.html")
    place = GALLERY if name == "style.css" else PAGE  # its colours and letters are the gallery's
    if name not in {path.name for path in place.iterdir()} or Path(name).suffix not in KINDS:
        return PlainTextResponse(f"there is no {name}", 404, RULES)
    return Response((place / name).read_bytes(), headers=RULES, media_type=KINDS[Path(name).suffix])


class Answers:
    """What the page gets beside itself: photographs, results to keep, and a socket for each tab."""

    def __init__(self, room: Room) -> None:
        self.room, self.worker = room, Worker()

    async def add(self, request: Request) -> Response:
        """POST /photographs?name=...: a file's bytes, answered with its {"photo": key, "name"}."""
        name, content = request.query_params.get("name", "photograph"), bytearray()
        async for part in request.stream():
            content += part
            if len(content) > LARGEST:
                return JSONResponse(
                    {"refused": f"more than {LARGEST // 1_000_000} MB: make it smaller first"}, 413, RULES
                )
        facts = await self.computed(lambda wish: described(self.room.add(name, bytes(content))))
        return JSONResponse(facts, 400 if "refused" in facts else 200, RULES)

    async def photograph(self, request: Request) -> Response:
        """GET /photographs/KEY.png: what the network gets of it."""
        try:
            found = self.room.photograph(request.path_params["key"])
        except UserError as error:
            return PlainTextResponse(str(error), 404, RULES)
        return Response(png(found.image), headers=RULES, media_type="image/png")

    async def keep(self, request: Request) -> Response:
        """GET /keep/COMMAND.png?question=...: what the command writes."""
        question = json.loads(request.query_params.get("question", "{}"))
        name, suffix = request.path_params["name"], "." + request.path_params["suffix"]
        facts = await self.computed(lambda wish: {"file": written(self.room, name, question, suffix, wish)})
        if "refused" in facts:
            return PlainTextResponse(facts["refused"], 400, RULES)
        name, content = facts["file"]
        headers = RULES | {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, headers=headers, media_type=KINDS[suffix])

    async def computed(self, answer: Callable[[Wish], dict[str, Any]]) -> dict[str, Any]:
        """What answer(wish) gives, computed by the worker; a dict with "refused" where it cannot be."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def hand_over(facts: dict[str, Any]) -> None:
            if not done.done():  # a request that was given up
                done.set_result(facts)

        def report(facts: dict[str, Any]) -> None:
            if facts.get("done"):
                loop.call_soon_threadsafe(hand_over, facts)

        self.worker.ask([Wish(object(), 0, answer, report)])
        return await done

    async def talk(self, websocket: WebSocket) -> None:
        """The socket of a Tab, until that is closed."""
        await websocket.accept()
        await Tab(self.room, self.worker, websocket).run()


def described(photograph: Photograph) -> dict[str, str]:
    """What the page knows a photograph by."""
    return {"photo": photograph.key, "name": photograph.name}


def written(
    room: Room, name: str, question: dict[str, Any], suffix: str, wish: Wish | None = None
) -> tuple[str, bytes]:
    """(name, bytes) of what a technique's command writes, its .png or .npz."""
    if suffix not in (".png", ".npz") or name not in RESULTS:
        raise UserError(f"there is no result {name}{suffix}")
    with TemporaryDirectory() as folder:
        job = room.asked(name, question, wish, out=Path(folder))
        find(name).run(job)
        path = next(path for path in job.written if path.suffix == suffix)
        return path.name, path.read_bytes()


class Tab:
    """One tab of the page: its socket, its wishes, and their answers on the way out."""

    def __init__(self, room: Room, worker: Worker, websocket: WebSocket) -> None:
        self.room, self.worker, self.websocket = room, worker, websocket
        self.loop, self.answers = asyncio.get_running_loop(), asyncio.Queue()

    async def run(self) -> None:
        """Until the tab is closed, and with it all that it waits for."""
        self.answers.put_nowait({"start": beginning(self.room)})
        sending = asyncio.create_task(self._send())
        try:
            while True:
                self._heard(json.loads(await self.websocket.receive_text()))
        except (WebSocketDisconnect, json.JSONDecodeError):
            pass
        finally:
            self.worker.cancel(self)
            sending.cancel()

    async def _send(self) -> None:
        """Send answers as they come; JSON has no infinite numbers, and is told so."""
        while True:
            facts = await self.answers.get()
            try:
                text = json.dumps(facts, allow_nan=False)
            except ValueError:
                sentence = "the network gives numbers that are infinite or none for this photograph"
                text = json.dumps({"id": facts.get("id"), "done": True, "refused": sentence})
            await self.websocket.send_text(text)

    def _heard(self, message: dict[str, Any]) -> None:
        """A message of the page: what to cancel, pause or change, and what it asks."""
        for number in message.get("cancel", []):
            self.worker.cancel(self, number)
        for number, paused in message.get("pause", []):
            self.worker.pause(self, number, paused)
        if "change" in message:
            self._change(**message["change"])
        asked = message.get("ask", [])[:MOST_AT_ONCE]
        self.worker.ask([Wish(self, one["id"], self._answer(one), self._report) for one in asked])

    def _change(self, numbers: Sequence[int], what: str, recipe: str) -> None:
        """Have ascents go on otherwise; what: "lr=0.01"."""
        try:
            rather.check_change(recipe, f"1:{what}")
        except UserError as error:
            return self._report({"id": numbers[0], "said": str(error)})
        self.worker.change(self, numbers, what)

    def _answer(self, question: dict[str, Any]) -> Callable[[Wish], dict[str, Any]]:
        """The answer of the view that a question is for."""

        def answer(wish: Wish) -> dict[str, Any]:
            if question.get("view") not in ANSWERS:
                raise UserError(f"explore knows no {question.get('view')!r}")
            try:
                return ANSWERS[question["view"]](self.room, question, wish)
            except NoScores as error:
                raise UserError(f"{error.found}: go Inside, or give Why and Rather see a LAYER:CHANNEL") from None

        return answer

    def _report(self, facts: dict[str, Any]) -> None:
        """Called in a worker's thread: the socket is the loop's."""
        self.loop.call_soon_threadsafe(self.answers.put_nowait, facts)


def beginning(room: Room) -> dict[str, Any]:
    """What the page has to know first."""
    model = room.model
    return {
        "model": model.name,
        "labels": [str(label) for label in model.labels] if model.labels else None,
        "photograph": room.own and described(room.own) | {"file": room.own.name != SAMPLE},
        "methods": why.methods(),
        "tried": believe.TRIED,
        "attacks": fool.METHODS,
        "recipes": rather.recipes(room),
        "networks": list(map(str, room.networks)),
        "layers": why.layers(room),
        "style": style.usual(room),
        "tree": inside.tree(room),
        "size": model.input_size,
        "indexed": room.patches.layers if room.patches else [],
        "colours": {kind: levels(table(kind == "signed") * 255) for kind in ("plain", "signed")},
    }
