"""Fetching from a server on the loopback address, with drawn pictures and their sums in place of the paper's."""

import hashlib
import http.server
import io
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, drawn, program_environment
from PIL import Image

from srcnn_tf.config import Config
from srcnn_tf.datasets import paper as fetch
from srcnn_tf.datasets import samples as datasets
from srcnn_tf.errors import RunError

TOP = f"SRCNN-Tensorflow-{fetch.COMMIT}"
PACKAGE_SUMS = fetch.SUMS
FOLDERS = {"T91": Path("Train/T91"), "Set5": Path("Test/Set5"), "Set14": Path("Test/Set14")}
ALL = Config(fetch="T91,Set5,Set14")


def bmp(seed):
    stream = io.BytesIO()
    Image.fromarray(drawn(20, 24, seed)).save(stream, "BMP")
    return stream.getvalue()


PICTURES = {
    "T91": {"t1.bmp": bmp(1), "t2.bmp": bmp(2), "tt3.bmp": bmp(1)},  # T91 has one picture twice
    "Set5": {"baby_GT.bmp": bmp(4), "bird_GT.bmp": bmp(5)},
    "Set14": {"baboon.bmp": bmp(6), "zebra.bmp": bmp(7)},
}


def digest(content):
    return hashlib.sha256(content).hexdigest()


def members(**changes):
    """The archive's files by path, as the reference's repository has them; `Set5__baby_GT=b"..."` changes one."""
    files = {f"{TOP}/README.md": b"# SRCNN", f"{TOP}/Train/": b""}
    for name, pictures in PICTURES.items():
        folder = "Train" if name == "T91" else f"Test/{name}"
        for picture, content in pictures.items():
            content = changes.get(f"{name}__{picture[:-4]}", content)
            if content is not None:
                files[f"{TOP}/{folder}/{picture}"] = content
    return files


def zipped(files, method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what the test has put into `server.answer`, a function of the handler and the request's number."""

    def do_GET(self):
        self.server.requests += 1
        self.server.answer(self, self.server.requests)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def serve(monkeypatch):
    """Makes `fetch.URL` a server's that answers so; returns the server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(fetch, "URL", f"http://127.0.0.1:{server.server_port}/archive.zip")

    def serve(answer):
        server.answer, server.requests = answer, 0
        return server

    yield serve
    server.shutdown()
    thread.join()
    server.server_close()


def whole(body):
    """An answer as GitHub's: in chunks, without a length."""

    def answer(handler, number=1):
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(body), 5000):
            block = body[start : start + 5000]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(block), block))
        handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return answer


def cut(body, length=None, chunked=False):
    """An answer that stops early, though more was announced."""

    def answer(handler, number=1):
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(length))))
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%b" % (len(body) + 9, body) if chunked else body)
        handler.close_connection = True

    return answer


def closing(body):
    """An answer that only the connection's end ends: without a length, nor in chunks."""

    def answer(handler, number=1):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def status(code):
    return lambda handler, number=1: handler.send_error(code)


@pytest.fixture(autouse=True)
def small_and_fast(tmp_path, tmp_path_factory, monkeypatch):
    """Sums of the drawn pictures, no waiting, no proxy, and a temporary folder that can be looked into."""
    sums = tmp_path_factory.mktemp("sums") / "fetch.sha256"
    sums.write_text(
        "".join(
            f"{digest(content)}  {name}/{picture}\n"
            for name, pictures in PICTURES.items()
            for picture, content in pictures.items()
        )
    )
    monkeypatch.setattr(fetch, "SUMS", sums)
    monkeypatch.setattr(fetch, "PAUSE", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield
    assert list(temporary.iterdir()) == []
    assert [path for path in tmp_path.rglob(".*") if path.is_file() or path.name.startswith(".writing")] == []


def there():
    """The files below the working folder, by path."""
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def of_sets(*names):
    return {f"{FOLDERS[name]}/{picture}": content for name in names for picture, content in PICTURES[name].items()}


# --- the sums in the package ---


def test_the_package_has_the_sums_of_the_papers_pictures(shared, monkeypatch):
    monkeypatch.setattr(fetch, "SUMS", PACKAGE_SUMS)
    sums = fetch.read_sums()
    assert {name: len(pictures) for name, pictures in sums.items()} == {"T91": 91, "Set5": 5, "Set14": 14}
    for name, pictures in sums.items():
        folder = shared / "data" / name
        assert sorted(pictures) == sorted(path.name for path in folder.iterdir())
        assert fetch.lacking(folder, pictures) == {}


def test_the_sums_are_in_sha256sums_format_and_name_no_other_folder():
    text = PACKAGE_SUMS.read_text()
    assert text.endswith("\n")
    for line in text.splitlines():
        assert re.fullmatch(r"[0-9a-f]{64}  (T91|Set5|Set14)/\w+\.bmp", line, re.ASCII)


def test_the_commit_is_the_references_last():
    assert fetch.COMMIT == "78be1a24697935fc39a3a8cf59a6632264afade7"
    assert f"github.com/tegg89/SRCNN-Tensorflow/archive/{fetch.COMMIT}.zip" in fetch.URL


def test_the_papers_own_pictures_are_fetched_whole(shared, serve, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "SUMS", PACKAGE_SUMS)
    data = shared / "data"
    folders = {"T91": "Train", "Set5": "Test/Set5", "Set14": "Test/Set14"}
    files = {
        f"{TOP}/{folder}/{path.name}": path.read_bytes()
        for name, folder in folders.items()
        for path in (data / name).iterdir()
    }
    serve(whole(zipped(files, zipfile.ZIP_STORED)))
    fetch.fetch(ALL)
    assert "Train/T91: 91 pictures, all with the right sums." in capsys.readouterr().out
    assert there() == {str(FOLDERS[path.parent.name] / path.name): path.read_bytes() for path in data.glob("*/*")}


# --- what works ---


@pytest.mark.parametrize(
    "answer", [whole, closing, lambda body: cut(body, len(body))], ids=["chunked", "end", "length"]
)
def test_sets_are_fetched(answer, serve, capsys):
    serve(answer(zipped(members())))
    fetch.fetch(ALL)
    assert there() == of_sets("T91", "Set5", "Set14")
    said = capsys.readouterr().out
    assert said.startswith(f"Downloading {fetch.URL}\n")
    assert "Test/Set5: 2 pictures, all with the right sums." in said


@pytest.mark.parametrize("names", ["T91", "Set5", "Set14,T91", "Set5,Set5"])
def test_only_the_sets_asked_for_are_written(names, serve):
    serve(whole(zipped(members())))
    fetch.fetch(Config(fetch=names))
    assert there() == of_sets(*set(names.split(",")))


def test_the_folders_are_those_of_the_flags(serve):
    serve(whole(zipped(members())))
    fetch.fetch(Config(fetch="T91,Set5", train_dir="learn/from", test_dir="look"))
    assert sorted(there()) == sorted(
        [*(f"learn/from/T91/{name}" for name in PICTURES["T91"]), *(f"look/Set5/{name}" for name in PICTURES["Set5"])]
    )


def test_a_redirection_is_followed(serve):
    def answer(handler, number):
        if number == 1:
            handler.send_response(302)
            handler.send_header("Location", "/elsewhere")
            handler.end_headers()
        else:
            whole(zipped(members()))(handler)

    serve(answer)
    fetch.fetch(Config(fetch="Set5"))
    assert there() == of_sets("Set5")


def test_where_in_the_archive_pictures_lie_and_their_names_do_not_matter(serve):
    other = {f"{TOP}/pictures/{number}.BMP": content for number, content in enumerate(members().values())}
    serve(whole(zipped({f"{TOP}/old/t1.bmp": b"another of this name"} | other | {"x/t1.bmp": b"and another"})))
    fetch.fetch(ALL)
    assert there() == of_sets("T91", "Set5", "Set14")


# --- what is there already ---


def test_what_is_there_is_not_downloaded_again(serve, capsys):
    server = serve(whole(zipped(members())))
    fetch.fetch(Config(fetch="Set5"))
    fetch.fetch(Config(fetch="Set5"))
    assert server.requests == 1
    fetch.fetch(Config(fetch="Set5,T91"))
    assert server.requests == 2
    assert there() == of_sets("Set5", "T91")
    assert capsys.readouterr().out.count("Test/Set5: all 2 pictures are there already") == 2


def test_a_part_that_is_there_is_completed(serve, capsys):
    FOLDERS["T91"].mkdir(parents=True)
    (FOLDERS["T91"] / "t2.bmp").write_bytes(PICTURES["T91"]["t2.bmp"])
    serve(whole(zipped(members(T91__t2=b"tampered, but not needed"))))
    fetch.fetch(Config(fetch="T91"))
    assert there() == of_sets("T91")
    assert "Train/T91: 2 pictures that were missing or damaged are there now" in capsys.readouterr().out


def test_a_damaged_picture_is_made_again_and_what_was_there_is_kept(serve, capsys):
    serve(whole(zipped(members())))
    fetch.fetch(Config(fetch="Set5"))
    picture = FOLDERS["Set5"] / "bird_GT.bmp"
    for number, content in enumerate([b"cut", b"someone's own"], 1):
        picture.write_bytes(content)
        fetch.fetch(Config(fetch="Set5"))
        assert picture.read_bytes() == PICTURES["Set5"]["bird_GT.bmp"]
        kept = picture.with_name(f"bird_GT.bmp.old{number}")
        assert kept.read_bytes() == content
        assert f"Test/Set5: what was there in their place is kept as {kept.name}." in capsys.readouterr().out
    assert datasets.find_pictures(Config(), "test_dir") == [FOLDERS["Set5"] / name for name in PICTURES["Set5"]]


def test_ones_own_pictures_in_the_folder_are_kept_and_named(serve, make_picture, capsys):
    own = make_picture("Train/T91/own.png").read_bytes()
    serve(whole(zipped(members())))
    fetch.fetch(Config(fetch="T91"))
    assert there() == of_sets("T91") | {"Train/T91/own.png": own}
    assert "not of T91 are left there, and will be used with it: own.png." in capsys.readouterr().out


def test_what_a_killed_fetch_left_is_no_obstacle(serve):
    left = Path("Test/.writing-Set5")
    left.mkdir(parents=True)
    (left / "baby_GT.bmp").write_bytes(b"half")
    serve(whole(zipped(members())))
    fetch.fetch(Config(fetch="Set5"))
    assert there() == of_sets("Set5")


# --- the samples ---


def test_samples_make_way_and_ones_own_files_stay(serve, capsys):
    for flag in datasets.SAMPLES:
        datasets.find_pictures(Config(), flag)
    own = {"Train/samples/mine.png": b"mine", "Train/samples/brick.png": b"mine, under a sample's name"}
    for name, content in own.items():
        Path(name).write_bytes(content)
    serve(whole(zipped(members())))
    fetch.fetch(Config(fetch="T91"))
    assert there().keys() == own.keys() | of_sets("T91").keys() | {
        f"Test/samples/{name}" for name in datasets.SAMPLES["test_dir"]
    }
    said = capsys.readouterr().out
    assert "Train/samples: the 7 photographs of scikit-image are removed; other files in it are kept." in said
    fetch.fetch(ALL)
    assert there() == own | of_sets("T91", "Set5", "Set14")
    assert not Path("Test/samples").exists()
    assert "Test/samples: the 6 photographs of scikit-image are removed.\n" in capsys.readouterr().out


def test_samples_stay_where_no_set_came(serve):
    datasets.find_pictures(Config(), "test_dir")
    serve(status(404))
    with pytest.raises(RunError):
        fetch.fetch(Config(fetch="Set5"))
    assert len(there()) == len(datasets.SAMPLES["test_dir"])


def test_samples_are_only_removed_where_they_are_put(serve, monkeypatch):
    serve(whole(zipped(members())))
    samples = datasets.find_pictures(Config(), "test_dir")
    Path("Test").rename("mine")
    fetch.fetch(Config(fetch="Set5", test_dir="mine"))
    assert len(list(Path("mine/samples").iterdir())) == len(samples)
    Path("Test").mkdir()
    Path("Test/samples").symlink_to("../mine/samples")
    fetch.fetch(Config(fetch="Set14"))
    assert len(list(Path("mine/samples").iterdir())) == len(samples)


def test_samples_that_cannot_be_removed_are_named_and_the_rest_is_done(serve, monkeypatch, capsys):
    datasets.find_pictures(Config(), "test_dir")
    serve(whole(zipped(members())))

    def unlink(path, missing_ok=False):
        if not missing_ok:
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(RunError, match="2 of 3 sets could not be done"):
        fetch.fetch(ALL)
    assert "Problem: Test/samples/astronaut.png: cannot be removed (Permission denied)" in capsys.readouterr().err
    assert of_sets("T91", "Set5", "Set14").items() <= there().items()


# --- damaged and hostile archives ---


def test_a_tampered_picture_is_named_and_the_other_sets_are_written(serve, capsys):
    false = PICTURES["Set5"]["baby_GT.bmp"][:-1] + b"!"
    serve(whole(zipped(members(Set5__baby_GT=false))))
    with pytest.raises(RunError, match="1 of 3 sets could not be done"):
        fetch.fetch(ALL)
    assert there() == of_sets("T91", "Set14")
    said = capsys.readouterr().err
    assert said.startswith("Problem: Test/Set5: nothing is written")
    true = digest(PICTURES["Set5"]["baby_GT.bmp"])
    assert f"of baby_GT.bmp expected SHA-256 {true}, found {digest(false)}." in said
    assert said.count("\n") == 1


def test_a_tampered_picture_leaves_what_is_there(serve):
    FOLDERS["Set5"].mkdir(parents=True)
    (FOLDERS["Set5"] / "baby_GT.bmp").write_bytes(b"mine")
    serve(whole(zipped(members(Set5__bird_GT=b"false"))))
    with pytest.raises(RunError):
        fetch.fetch(Config(fetch="Set5"))
    assert there() == {"Test/Set5/baby_GT.bmp": b"mine"}


def test_pictures_that_the_archive_lacks_are_named(serve, capsys):
    serve(whole(zipped(members(T91__t1=None, T91__tt3=None))))
    with pytest.raises(RunError, match="1 of 2 sets"):
        fetch.fetch(Config(fetch="T91,Set5"))
    assert there() == of_sets("Set5")
    said = capsys.readouterr().err
    assert "Train/T91: nothing is written" in said
    assert re.search("of t1.bmp expected SHA-256 [0-9a-f]{64}, found no such file; of tt3.bmp expected", said)


def test_damaged_data_in_a_whole_archive_is_named(serve, capsys):
    body = bytearray(zipped(members(), zipfile.ZIP_STORED))
    body[body.index(PICTURES["Set14"]["zebra.bmp"]) + 500] ^= 1
    serve(whole(bytes(body)))
    with pytest.raises(RunError, match="1 of 3 sets"):
        fetch.fetch(ALL)
    assert re.search(
        r"of zebra.bmp expected SHA-256 [0-9a-f]{64}, found damaged data: Bad CRC-32", capsys.readouterr().err
    )
    assert there() == of_sets("T91", "Set5")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_kinds_of_compression_that_cannot_be_bounded_are_refused(method, serve, capsys):
    serve(whole(zipped(members(), method)))
    with pytest.raises(RunError):
        fetch.fetch(Config(fetch="Set5"))
    assert f"found compression method {method}, which GitHub does not use" in capsys.readouterr().err
    assert there() == {}


@pytest.mark.parametrize("honest", [True, False])
def test_a_bomb_is_not_unpacked(honest, serve, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "LARGEST_PICTURE", 100_000)
    size = 43_210_987
    monkeypatch.setattr(fetch, "LARGEST_CONTENT", 50_000)
    body = zipped({f"{TOP}/bird_GT.bmp": b"\0" * size} | members(Set5__bird_GT=None))
    if not honest:
        body = body.replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    serve(whole(body))
    tracemalloc.start()
    with pytest.raises(RunError):
        fetch.fetch(Config(fetch="Set5"))
    assert tracemalloc.get_traced_memory()[1] < size / 4
    tracemalloc.stop()
    assert ("found 43.2 MB" if honest else "found damaged data") in capsys.readouterr().err
    assert there() == {}


def test_many_files_that_are_small_before_they_are_unpacked_are_refused(serve, monkeypatch):
    monkeypatch.setattr(fetch, "LARGEST_CONTENT", 2_000_000)
    serve(whole(zipped(members() | {f"{TOP}/{number}": b"\0" * 300_000 for number in range(7)})))
    with pytest.raises(RunError, match=r"expected an archive of 2\.0 MB unpacked, found more"):
        fetch.fetch(Config(fetch="Set5"))
    assert there() == {}


@pytest.mark.parametrize("prefix", ["../../", "../../../../../../", "/{}/", "..\\..\\", "C:\\", "Train/T91/../../../"])
def test_no_path_of_the_archive_leads_anywhere(prefix, serve, tmp_path):
    inside = tmp_path / "deep" / "er"
    inside.mkdir(parents=True)
    os.chdir(inside)
    prefix = prefix.format(tmp_path)
    hostile = {f"{prefix}{name}": b"hostile" for name in ("evil.txt", "t1.bmp", "Test/Set5/bird_GT.bmp", "main.py")}
    serve(whole(zipped(hostile | members())))
    fetch.fetch(ALL)
    assert there() == of_sets("T91", "Set5", "Set14")
    assert [path for path in tmp_path.rglob("*") if path.is_file() and inside not in path.parents] == []


def test_a_link_in_the_archive_is_not_made(serve, tmp_path, capsys):
    secret = tmp_path / "secret"
    secret.write_bytes(b"not to be seen")
    link = zipfile.ZipInfo(f"{TOP}/Test/Set5/baby_GT.bmp")
    link.external_attr = 0o120777 << 16
    files = {name: content for name, content in members().items() if "baby_GT" not in name}
    serve(whole(zipped({link: str(secret).encode()} | files)))
    with pytest.raises(RunError):
        fetch.fetch(Config(fetch="Set5"))
    assert there() == {"secret": b"not to be seen"}
    assert f"found {digest(str(secret).encode())}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Sign in to the network</html>", b"PK\x05\x06" + b"\xff" * 18, b"PK\x03\x04", zipped(members())[:-30]],
    ids=["nothing", "a page", "false end", "beginning", "truncated"],
)
def test_what_is_no_archive_is_said(body, serve):
    serve(closing(body))
    with pytest.raises(RunError, match=r"expected a zip archive, found 0\.\d MB that are not a whole one"):
        fetch.fetch(ALL)
    assert there() == {}


# --- the network ---


@pytest.mark.parametrize("known", [False, True])
def test_a_terminal_has_a_progress_bar(known, serve, monkeypatch, capsys):
    body = zipped(members())
    serve(cut(body, len(body)) if known else whole(body))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fetch.fetch(ALL)
    said = capsys.readouterr().err
    assert ("100%|" in said) is known
    assert "B/s]" in said


@pytest.mark.parametrize("chunked", [False, True])
def test_a_download_that_is_cut_begins_anew(chunked, serve, capsys):
    body = zipped(members())
    # It is longer than the whole one, whose end would be lost in what is left of it.
    half = cut(body[: len(body) // 2] + bytes(200_000), 300_000, chunked)
    server = serve(lambda handler, number: half(handler) if number < 3 else whole(body)(handler))
    fetch.fetch(ALL)
    assert server.requests == 3
    assert there() == of_sets("T91", "Set5", "Set14")
    said = capsys.readouterr().err
    assert said.count("the download was cut after 0.2 MB") == 2
    assert "Attempt 3 of 3 follows." in said


@pytest.mark.parametrize("chunked", [False, True])
def test_a_download_that_is_always_cut_leaves_nothing(chunked, serve):
    server = serve(cut(zipped(members())[:3000], 10**6, chunked))
    with pytest.raises(RunError, match=r"the download was cut after 0\.0 MB .*nothing of it is kept"):
        fetch.fetch(ALL)
    assert server.requests == fetch.ATTEMPTS
    assert there() == {}


def test_a_server_that_falls_silent_is_a_cut(serve, monkeypatch):
    monkeypatch.setattr(fetch, "TIMEOUT", 0.1)
    monkeypatch.setattr(fetch, "ATTEMPTS", 1)
    released = threading.Event()

    def answer(handler, number):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"PK")
        released.wait(10)

    serve(answer)
    try:
        with pytest.raises(RunError, match=r"cut after 0\.0 MB \(timed out\)"):
            fetch.fetch(ALL)
    finally:
        released.set()
    assert there() == {}


@pytest.mark.parametrize(("code", "requests"), [(404, 1), (403, 1), (429, 3), (502, 3)])
def test_a_servers_refusal_is_said(code, requests, serve):
    server = serve(status(code))
    with pytest.raises(RunError, match=rf"{fetch.URL}: expected the archive, but the server answered {code} \("):
        fetch.fetch(ALL)
    assert server.requests == requests
    assert there() == {}


def test_a_hiccup_of_the_server_is_passed_over(serve):
    good = whole(zipped(members()))
    serve(lambda handler, number: handler.send_error(503) if number == 1 else good(handler))
    fetch.fetch(Config(fetch="Set14"))
    assert there() == of_sets("Set14")


def test_an_endless_download_is_ended(serve, monkeypatch):
    monkeypatch.setattr(fetch, "LARGEST_ARCHIVE", 1_000_000)
    sent = []

    def answer(handler, number):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                sent.append(handler.wfile.write(b"\0" * 65536))
        except OSError:  # the program has hung up
            pass

    serve(answer)
    with pytest.raises(RunError, match=r"expected an archive of 1\.0 MB at most, and more came"):
        fetch.fetch(ALL)
    assert sum(sent) < 50_000_000  # some of it is on the way
    assert there() == {}


def test_without_a_network_it_is_said(monkeypatch):
    def getaddrinfo(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(RunError, match=rf"^{fetch.URL}: no connection \(Name or service not known\); look at the net"):
        fetch.fetch(ALL)
    assert there() == {}


def test_a_refused_connection_is_said(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(fetch, "URL", f"http://127.0.0.1:{free.getsockname()[1]}/archive.zip")
        with pytest.raises(RunError, match=r"^http://127.*: no connection \(Connection refused\)"):
            fetch.fetch(ALL)
    assert there() == {}


def test_a_connection_that_is_closed_at_once_is_said(serve):
    serve(lambda handler, number: handler.connection.close())
    with pytest.raises(RunError, match=r"no connection \(.*(closed connection|reset|descriptor)"):
        fetch.fetch(ALL)


# --- writing ---


def test_a_folder_that_cannot_be_written_is_named_and_the_rest_is_done(serve, capsys):
    Path("Train").write_text("a file where the folder goes")
    serve(whole(zipped(members())))
    with pytest.raises(RunError, match="1 of 3 sets"):
        fetch.fetch(ALL)
    assert "Problem: Train/T91: cannot be written (" in capsys.readouterr().err
    assert there() == of_sets("Set5", "Set14") | {"Train": b"a file where the folder goes"}


def test_a_full_disk_is_named_and_nothing_is_half_written(serve, monkeypatch, capsys):
    serve(whole(zipped(members())))
    write_bytes = Path.write_bytes

    def full(path, content):
        if path.name == "t2.bmp":
            write_bytes(path, content[:9])
            raise OSError(28, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match="1 of 2 sets"):
        fetch.fetch(Config(fetch="T91,Set5"))
    assert "Problem: Train/T91: cannot be written (No space left on device)" in capsys.readouterr().err
    assert there() == of_sets("Set5")


def test_ctrl_c_between_pictures_leaves_no_part_of_a_set(serve, monkeypatch):
    serve(whole(zipped(members())))
    written = []
    original = Path.write_bytes

    def write_bytes(path, content):
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(original(path, content))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch(ALL)
    assert there() == {}


# --- from end to end ---


@pytest.fixture
def program(tmp_path):
    """Starts main.py with the test's URL and sums; it ends with an error if it loads TensorFlow."""

    def program(*arguments, **options):
        text = (
            "import pathlib, runpy, sys\n"
            f"sys.argv = ['main.py', *{arguments!r}]; sys.path.insert(0, {str(ROOT)!r})\n"
            "from srcnn_tf import fetch\n"
            f"fetch.URL = {fetch.URL!r}; fetch.SUMS = pathlib.Path({str(fetch.SUMS)!r})\n"
            "try:\n"
            f"    runpy.run_path({str(ROOT / 'main.py')!r}, run_name='__main__')\n"
            "finally:\n"
            "    assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
        )
        return subprocess.Popen(
            [sys.executable, "-c", text],
            cwd=tmp_path,
            env=program_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    return program


def test_the_program_fetches_and_loads_no_tensorflow(program, serve):
    serve(whole(zipped(members(Set14__zebra=None))))
    process = program("--fetch=T91,Set5,Set14")
    said, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    assert there() == of_sets("T91", "Set5")
    assert "Train/T91: 3 pictures" in said
    problem, summary = complaint.splitlines()
    assert problem.startswith("Problem: Test/Set14: nothing is written")
    assert summary.startswith("1 of 3 sets could not be done")
    again = program("--fetch=T91,Set5")
    assert again.communicate(timeout=60)[1] == ""
    assert again.returncode == 0


def test_no_room_for_the_download_is_said(program, serve):
    serve(whole(zipped(members())))
    process = program("--fetch=T91", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5500, 5500)))
    complaint = process.communicate(timeout=60)[1]
    assert complaint.startswith(f"{tempfile.tempdir}: the download cannot be written there (File too large)")
    assert complaint.count("\n") == 1
    assert process.returncode == 1
    assert there() == {}


def test_ctrl_c_in_the_download_leaves_nothing(program, serve):
    reached, released = threading.Event(), threading.Event()

    def answer(handler, number):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(zipped(members())[:3000])
        reached.set()
        released.wait(20)

    serve(answer)
    process = program("--fetch=T91")
    try:
        assert reached.wait(20)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[1] == "Interrupted.\n"
    finally:
        released.set()
    assert process.returncode == 130
    assert there() == {}
