"""Downloads from a server on the loopback address, with synthetic images and their sums in place of the paper's."""

import gc
import hashlib
import http.server
import io
import os
import re
import socket
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, program_environment

from srcnn_tf.config import Config
from srcnn_tf.datasets import paper
from srcnn_tf.datasets.samples import SAMPLES, find_images
from srcnn_tf.errors import RunError

# requests leaves the socket of a download that fails to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
PACKAGE_SUMS = paper.SUMS
ALL = Config(fetch="T91,Set5,Set14")
# What the archive holds at these paths, and where it goes. T91 has one image twice.
IMAGES = {
    "Train/t1.bmp": (b"BM 1" * 900, "Train/T91/t1.bmp"),
    "Train/tt2.bmp": (b"BM 1" * 900, "Train/T91/tt2.bmp"),
    "Test/Set5/baby_GT.bmp": (b"BM 2" * 900, "Test/Set5/baby_GT.bmp"),
    "Test/Set5/bird_GT.bmp": (b"BM 3" * 900, "Test/Set5/bird_GT.bmp"),
    "Test/Set14/zebra.bmp": (b"BM 4" * 900, "Test/Set14/zebra.bmp"),
}


def digest(content):
    return hashlib.sha256(content).hexdigest()


def archive(**changes):
    """A zip of the reference's repository; `bird_GT=b"..."` changes a file, `bird_GT=None` leaves it out."""
    files = {"README.md": b"# SRCNN", "../../evil.bmp": b"outside", "/tmp/srcnn_tf_evil.bmp": b"outside"}
    files |= {path: changes.get(Path(path).stem, content) for path, (content, _) in IMAGES.items()}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for path, content in files.items():
            if content is not None:
                file.writestr(f"SRCNN-Tensorflow/{path}" if path[0] not in "./" else path, content)
    return stream.getvalue()


def images(*sets):
    """The files that the sets consist of, by path."""
    return {path: content for content, path in IMAGES.values() if path.split("/")[1] in sets}


def files():
    """All files below the working folder, by path."""
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def environment(tmp_path, tmp_path_factory, monkeypatch):
    """Sums of the synthetic images, no pause before a retry, no proxy; no temporary file may be left."""
    lines = [f"{digest(content)}  {path.split('/', 1)[1]}\n" for content, path in IMAGES.values()]
    sums = tmp_path_factory.mktemp("sums") / "paper.sha256"
    sums.write_text("".join(lines))
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(paper, "SUMS", sums)
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("no_proxy", "*")
    yield
    gc.collect()
    assert list(temporary.iterdir()) == []
    assert list(tmp_path.rglob(".writing*")) == []


@pytest.fixture
def serve(monkeypatch):
    """Returns a function that sets the server's answers: bodies, statuses, or (body, announced length)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer = self.server.answers[min(self.server.requests, len(self.server.answers) - 1)]
            self.server.requests += 1
            if isinstance(answer, int):
                self.send_error(answer)
                return
            body, length = answer if isinstance(answer, tuple) else (answer, None)
            self.send_response(200)
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(paper, "URL", f"http://127.0.0.1:{server.server_port}/archive.zip")

    def serve(*answers):
        server.answers, server.requests = answers, 0
        return server

    yield serve
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_package_has_the_sums_of_the_papers_images(shared, monkeypatch):
    monkeypatch.setattr(paper, "SUMS", PACKAGE_SUMS)
    for name, count in {"T91": 91, "Set5": 5, "Set14": 14}.items():
        sums, folder = paper.read_sums(name), shared / "data" / name
        assert sorted(sums) == sorted(path.name for path in folder.iterdir())
        assert len(sums) == count
        assert paper.find_missing(folder, sums) == {}
    assert all(re.fullmatch(r"[0-9a-f]{64}  \w+/\w+\.bmp", line) for line in PACKAGE_SUMS.read_text().splitlines())


@pytest.mark.parametrize(
    ("answers", "requests"),
    [([archive()], 1), ([(archive(), len(archive()))], 1), ([(archive()[:500], 9000), 503, archive()], 3)],
)
def test_sets_are_downloaded_and_samples_removed(answers, requests, serve, capsys):
    own = find_images(Config(), "train_dir")[0].with_name("own.png")
    own.write_bytes(b"own")
    find_images(Config(), "test_dir")
    server = serve(*answers)
    paper.fetch(ALL)
    assert files() == images("T91", "Set5", "Set14") | {str(own): b"own"}
    assert server.requests == requests
    output = capsys.readouterr()
    assert output.err == ""
    assert "Test/Set5: 2 images, 2 new; others: none." in output.out
    paper.fetch(ALL)
    assert server.requests == requests
    assert "Test/Set5: 2 images, 0 new; others: none." in capsys.readouterr().out


@pytest.mark.linux
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (404, "404 Client Error: Not Found"),
        ((archive()[:500], 9000), "IncompleteRead"),
        (archive()[:-30], "File is not a zip file"),
        (b"<html>Sign in to the network</html>", "File is not a zip file"),
        (archive()[:60] + b"damaged" + archive()[67:], ""),
    ],
)
def test_a_failed_download_is_one_line_and_changes_nothing(answer, reason, serve, monkeypatch):
    samples = find_images(Config(), "test_dir")
    serve(answer)
    with pytest.raises(RunError, match=rf"^{paper.URL}: expected a zip archive, but the download failed \(.*{reason}"):
        paper.fetch(ALL)
    assert sorted(files()) == sorted(map(str, samples))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(paper, "URL", f"http://127.0.0.1:{free.getsockname()[1]}/archive.zip")
        with pytest.raises(RunError, match=r"download failed \(\[Errno \d+\] Connection refused\); nothing is written"):
            paper.fetch(ALL)
    assert sorted(files()) == sorted(map(str, samples))


@pytest.mark.parametrize("content", [b"tampered", None])
def test_a_tampered_or_missing_image_is_named_and_the_other_sets_are_written(content, serve):
    serve(archive(baby_GT=content))
    expected = digest(IMAGES["Test/Set5/baby_GT.bmp"][0])
    with pytest.raises(RunError, match=rf"^Test/Set5: nothing is written, .* sums of baby_GT.bmp \({expected}\)\. See"):
        paper.fetch(ALL)
    assert files() == images("T91", "Set14")


def test_an_existing_folder_is_completed_and_own_files_are_kept(serve, capsys):
    expected = images("Set5")
    for number, content in enumerate([b"cut", b"someone's own"], 1):
        path = Path("Test/Set5/bird_GT.bmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        Path("Test/Set5/own.png").write_bytes(b"own")
        serve(archive())
        paper.fetch(Config(fetch="Set5"))
        expected |= {"Test/Set5/own.png": b"own", f"{path}.old{number}": content}
        assert files() == expected
        output = capsys.readouterr().out
        assert f"{path}: the file that differed is kept as bird_GT.bmp.old{number}.\n" in output
        assert "others: own.png." in output


def test_the_folders_are_those_of_the_flags_and_samples_elsewhere_stay(serve):
    find_images(Config(), "test_dir")
    Path("Test").rename("mine")
    serve(archive())
    paper.fetch(Config(fetch="T91,Set5", train_dir="a/b", test_dir="mine"))
    sets = {f"a/b/T91/{Path(path).name}" for path in images("T91")} | {f"mine{path[4:]}" for path in images("Set5")}
    assert files().keys() == sets | {f"mine/samples/{name}" for name in SAMPLES["test_dir"]}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt("")])
def test_a_full_disk_or_an_interrupt_leaves_no_part_of_a_set(error, serve, monkeypatch):
    left = Path("Test/.writing-Set5")  # by a killed process
    left.mkdir(parents=True)
    (left / "baby_GT.bmp").write_bytes(b"half")
    os.utime(left, (0, 0))
    serve(archive())
    copied = []

    def copyfile(source, target):
        copied.append(Path(target).write_bytes(Path(source).read_bytes()))
        if len(copied) == 2:
            raise error

    with monkeypatch.context() as patched:
        patched.setattr(paper.shutil, "copyfile", copyfile)
        with pytest.raises((RunError, KeyboardInterrupt), match=r"^Train/T91: cannot be written|^$"):
            paper.fetch(Config(fetch="T91"))
    assert not Path("Train/T91").exists()
    paper.fetch(Config(fetch="T91,Set5"))
    assert files() == images("T91", "Set5")


@pytest.mark.linux
def test_ctrl_c_in_a_download_leaves_nothing_and_loads_no_tensorflow(serve, tmp_path):
    serve((b"PK", 9000))
    program = (
        "import sys; from srcnn_tf import cli; from srcnn_tf.datasets import paper; import os, signal, pooch.core\n"
        f"paper.URL = {paper.URL!r}\n"
        "pooch.core.time.sleep = lambda seconds: os.kill(os.getpid(), signal.SIGTERM)\n"
        "status = cli.run(['main.py', '--fetch=Set5']); assert 'tensorflow' not in sys.modules; sys.exit(status)\n"
    )
    environment = program_environment() | {"PYTHONPATH": str(ROOT)}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", program], **options)
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")
    assert files() == {}
