"""Downloading, against a local server that cuts connections, ignores ranges, sends damage, or is not there."""

import hashlib
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import models
from models import catalogue, download
from models.__main__ import main
from models.catalogue import SOURCES, Source
from models.download import DownloadError, fetch
from tests.models.torch_format import write_state_dict

ROOT = Path(__file__).parents[2]


class Server(ThreadingHTTPServer):
    """Serves `content` at every path, with the faults that are asked for; notes the requests' ranges."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges = content, []
        self.cut_after, self.ignore_ranges, self.status, self.lengthless = None, False, None, False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def source(self, algorithm="sha256", digits=8):
        digest = hashlib.new(algorithm, self.content).hexdigest()[:digits]
        return Source(f"http://127.0.0.1:{self.server_port}/weights-{digest}.pth", algorithm, digest, "torchvision")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.ranges.append(wanted)
        start = 0 if server.ignore_ranges or not wanted else int(wanted.removeprefix("bytes=").rstrip("-"))
        if server.status or start >= len(server.content):
            return self.send_error(server.status or 416)
        data = server.content[start:]
        self.send_response(206 if start else 200)
        if not server.lengthless:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data if server.cut_after is None else data[: server.cut_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server(np.random.default_rng(0).bytes(1 << 20))
    yield server
    server.shutdown()
    server.server_close()


def fetched(server, folder, **options):
    path = folder / server.source().filename
    result = fetch(server.source(), path, progress=False, pause=0.01, **options)
    assert result == path and path.read_bytes() == server.content and list(folder.iterdir()) == [path]


def test_a_plain_download(server, tmp_path):
    fetched(server, tmp_path)
    assert server.ranges == [None]


def test_a_cut_connection_is_taken_up_where_it_was_cut(server, tmp_path):
    server.cut_after = 300_000
    fetched(server, tmp_path)
    assert server.ranges == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_a_later_run_goes_on(server, tmp_path):
    part = tmp_path / f"{server.source().filename}.part"
    part.write_bytes(server.content[:123_456])
    fetched(server, tmp_path)
    assert server.ranges == ["bytes=123456-"]


def test_servers_that_ignore_ranges(server, tmp_path):
    server.ignore_ranges = True
    (tmp_path / f"{server.source().filename}.part").write_bytes(server.content[:1000])
    fetched(server, tmp_path)


def test_servers_that_tell_no_length(server, tmp_path):
    server.lengthless = True
    fetched(server, tmp_path)


def test_a_complete_part_needs_only_its_checksum(server, tmp_path):
    (tmp_path / f"{server.source().filename}.part").write_bytes(server.content)
    fetched(server, tmp_path)


def test_md5_too(server, tmp_path):
    source = server.source("md5", 32)
    assert fetch(source, tmp_path / "w", progress=False).read_bytes() == server.content


def test_a_wrong_checksum_is_refused_and_removed(server, tmp_path):
    source = server.source()
    server.content = server.content[:-1] + b"?"
    with pytest.raises(models.WeightsError, match=f"has sha256 .*, expected {source.digest}.*was removed"):
        fetch(source, tmp_path / "w", progress=False)
    assert not list(tmp_path.iterdir())


def test_a_stale_beginning_is_noticed(server, tmp_path):
    (tmp_path / "w.part").write_bytes(b"old" * 100)
    with pytest.raises(models.WeightsError, match="expected"):
        fetch(server.source(), tmp_path / "w", progress=False)
    assert fetch(server.source(), tmp_path / "w", progress=False).read_bytes() == server.content


def test_a_connection_that_never_gets_on_is_given_up(server, tmp_path):
    server.cut_after = 0
    with pytest.raises(DownloadError, match=r"the connection was cut.*put a copy of that file at"):
        fetch(server.source(), tmp_path / "w", progress=False, attempts=3, pause=0.01)
    assert len(server.ranges) == 3


@pytest.mark.parametrize("status", [404, 403, 500])
def test_refusals_of_the_server(server, tmp_path, status):
    server.status = status
    with pytest.raises(DownloadError, match=f"the server answers {status}"):
        fetch(server.source(), tmp_path / "w", progress=False)
    assert not list(tmp_path.iterdir())


def test_no_network_is_one_sentence(tmp_path):
    for host in ("127.0.0.1:9", "no-such-host.invalid"):
        source = Source(f"http://{host}/w.pth", "md5", "0", "caffe")
        with pytest.raises(DownloadError, match="without a network put a copy of that file at .*w.pth") as caught:
            fetch(source, tmp_path / "w.pth", progress=False, attempts=2, pause=0.01)
        assert "\n" not in str(caught.value)


def test_absurd_lengths_are_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "LARGEST", 1000)
    with pytest.raises(DownloadError, match="1,048,576 bytes long: that is not the file"):
        fetch(server.source(), tmp_path / "w", progress=False)
    server.lengthless = True
    with pytest.raises(DownloadError, match="sends without end"):
        fetch(server.source(), tmp_path / "w", progress=False)


def test_the_bar_counts_bytes(server, tmp_path, capsys):
    (tmp_path / "w.part").write_bytes(server.content[:600_000])
    fetch(server.source(), tmp_path / "w")
    assert "1.05M/1.05M" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------------------------------
# From the server to models.load
# ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def squeezenet(server, tmp_path, monkeypatch):
    """The server has a torchvision squeezenet1_1 with random weights; returns the model."""
    model = models.build("squeezenet1_1", seed=5)
    names = {"conv1": "features.0", "conv10": "classifier.1"}
    places = (3, 4, 6, 7, 9, 10, 11, 12)
    names |= {f"fire{number}": f"features.{place}" for number, place in enumerate(places, 2)}
    state = {}
    for key, array in model.state_dict().items():
        layer, _, rest = key.partition(".")
        state[f"{names[layer]}.{rest.replace('expand.', 'expand')}"] = array
    write_state_dict(tmp_path / "w.pth", state)
    server.content = (tmp_path / "w.pth").read_bytes()
    monkeypatch.setenv("MINIGRAD_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(SOURCES, "squeezenet1_1", server.source())
    return model


def same(model, loaded):
    return all(np.array_equal(array, loaded.state_dict()[name]) for name, array in model.state_dict().items())


def test_download_converts_and_load_finds(squeezenet, server):
    server.cut_after = 2_000_000
    path = download.download("squeezenet1_1", progress=False)
    assert path == catalogue.home() / "squeezenet1_1.h5" and list(catalogue.home().iterdir()) == [path]
    loaded = models.load("squeezenet1_1")
    assert same(squeezenet, loaded) and loaded["preprocess"].std == (0.229, 0.224, 0.225)
    assert loaded.provenance["url"] == server.source().url and len(loaded.provenance["source_sha256"]) == 64
    count = len(server.ranges)
    assert download.download("squeezenet1_1", progress=False) == path and len(server.ranges) == count


def test_a_file_put_there_by_hand_is_used_and_kept(squeezenet, server):
    catalogue.home().mkdir()
    by_hand = catalogue.home() / server.source().filename
    by_hand.write_bytes(server.content)
    download.download("squeezenet1_1", progress=False)
    assert same(squeezenet, models.load("squeezenet1_1")) and by_hand.exists() and not server.ranges


def test_a_wrong_file_put_there_by_hand_is_refused_and_kept(squeezenet, server):
    catalogue.home().mkdir()
    by_hand = catalogue.home() / server.source().filename
    by_hand.write_bytes(b"something else")
    with pytest.raises(models.WeightsError, match="put the right file in its place"):
        download.download("squeezenet1_1", progress=False)
    assert by_hand.exists()


def test_only_official_files_are_downloaded():
    with pytest.raises(ValueError, match="choose from vgg16, vgg19, squeezenet1_1"):
        download.download("minivgg")
    assert SOURCES["vgg16"].digest == "64373286793e3c8b2b4e3219cbf3544b" and SOURCES["vgg16"].algorithm == "md5"
    for source in (SOURCES["vgg19"], SOURCES["squeezenet1_1"]):
        assert source.filename.removesuffix(".pth").endswith(f"-{source.digest}") and source.url.startswith("https://")


# ----------------------------------------------------------------------------------------------------------------------
# The two scripts
# ----------------------------------------------------------------------------------------------------------------------


def script(name, *arguments, **environment):
    command = [sys.executable, ROOT / "scripts" / f"{name}.py", *map(str, arguments)]
    environment = {"PATH": "", "PYTHONPATH": str(ROOT), **{key: str(value) for key, value in environment.items()}}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)


def test_convert_script(tmp_path):
    model = models.build("squeezenet1_1", seed=1)
    np.savez(tmp_path / "w.npz", **model.state_dict())
    done = script("convert", tmp_path / "w.npz", "--arch", "squeezenet1_1", "--out", tmp_path / "w.h5", "--half")
    assert done.returncode == 0 and not done.stderr
    assert "squeezenet1_1, 1,235,496 parameters" in done.stdout and "BGR" in done.stdout
    assert models.load(tmp_path / "w.h5").name == "squeezenet1_1"
    assert (tmp_path / "w.h5").stat().st_size < 2.6e6


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["absent.pth", "--out", "w.h5"], "convert: there is no file absent.pth"),
        (["pyproject.toml", "--out", "w.h5"], "is none of the files that are read"),
        (["tests/golden/keras_vgg16.weights.h5", "--out", "w.h5"], "fit none of"),
        (["tests/golden/keras_vgg16.h5", "--out", "w.h5"], "nothing tells how pictures of"),
        (["tests/golden/keras_vgg16.h5", "--arch", "vgg16", "--out", "w.h5"], "conv1_1.weight is float32"),
        (["x", "--arch", "resnet51", "--out", "w.h5"], "invalid choice: 'resnet51'"),
        (["x"], "convert: there is no file x"),
        ([], "convert: the following arguments are required: SOURCE (--help lists the options)"),
        (["x", "--ou", "w.h5"], "convert: unrecognized arguments: --ou w.h5"),
    ],
)
def test_convert_script_refuses_with_a_sentence(arguments, message, tmp_path):
    done = script("convert", *arguments)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    assert not (ROOT / "w.h5").exists()


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["convert", "pyproject.toml"], "convert: --out is missing: the weights file to write, such as net.h5"),
        (
            ["convert", "pyproject.toml", "--out", "pyproject.toml"],
            "convert: --out pyproject.toml is the file to convert",
        ),
        (["info", ""], "info: an argument is empty"),
        (["info", "vgg61"], "info: there is no model 'vgg61': did you mean vgg19 or vgg16 or vgg13?"),
    ],
)
def test_as_a_program_it_refuses_with_a_sentence_too(words, sentence):
    done = subprocess.run([sys.executable, "-m", "models", *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.startswith(sentence) and done.stderr.count("\n") == 1


def test_each_command_of_weights_describes_itself(capsys):
    for name, said in (("convert", "other programs'"), ("download", "the official weights"), ("info", "the layers of")):
        with pytest.raises(SystemExit):
            main([name, "--help"])
        described = capsys.readouterr().out.split("\n\n")[1]
        assert described.startswith(said) and described.endswith(".") and "\ndownload " not in described
    assert main(["nosuch"]) == 2 and capsys.readouterr().err.startswith("models: argument convert|download|info")


def test_download_script_without_a_network(tmp_path):
    proxies = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = script("download", "squeezenet1_1", MINIGRAD_HOME=tmp_path, **proxies)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"put a copy of that file at {tmp_path / 'squeezenet1_1-b8a52dc0.pth'}" in done.stderr.splitlines()[-1]
