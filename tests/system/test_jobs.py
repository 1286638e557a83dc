"""Upscaling and testing on a Dask cluster, of real processes on this machine."""

import contextlib
import itertools
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT, program_environment
from networks import network, save

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.system import jobs
from srcnn_tf.system.files import TEMPORARY
from srcnn_tf.system.origins import ORIGINS


@pytest.fixture
def start():
    """Starts a process of Dask; it is killed when the test ends."""
    with contextlib.ExitStack() as stack:

        def start_process(*words):
            environment = program_environment() | {"PYTHONPATH": str(ROOT)}
            command = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:], "--no-dashboard"]
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start_process


@pytest.fixture
def scheduler(start):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start("scheduler", "--host", "127.0.0.1", "--port", str(port))
    return f"tcp://127.0.0.1:{port}"


def files(folder):
    """The contents of all files below a folder, by their path in it; without what a killed worker was writing."""
    paths = [
        path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith((TEMPORARY, ORIGINS))
    ]
    return {path.relative_to(folder): path.read_bytes() for path in paths}


@pytest.mark.slow
def test_a_dead_workers_images_go_to_others_and_all_files_are_those_of_one_machine(
    make_image, run_main, start, scheduler, tmp_path
):
    for number in range(12):
        make_image(f"scans/{number % 3}/{number}.png", 60 + number, 90, seed=number)
    (tmp_path / "scans" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    workers = [start("worker", scheduler, "--nthreads", "2", "--no-nanny") for _ in range(2)]

    def kill_one():
        while not list((tmp_path / "cluster").rglob("*_x2.png")):
            time.sleep(0.005)
        workers[0].kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    arguments = ["--input=scans", "--scale=2", f"--cluster={scheduler}"]
    done = run_main(*arguments, "--output=cluster", check=False)
    killer.join()
    assert done.returncode == 1
    assert "12 of 13 upscaled, to cluster." in done.stdout
    assert re.search(r"Problem: \S*scans/broken.png", done.stderr)
    assert done.stderr.count("Problem:") == 1
    run_main("--input=scans", "--scale=2", "--output=alone", check=False)
    assert len(files(tmp_path / "alone")) == 12
    assert files(tmp_path / "cluster") == files(tmp_path / "alone")

    again = run_main(*arguments, "--output=cluster", check=False)  # only the broken one is left
    assert "12 of 13 already exist" in again.stdout


@pytest.mark.slow
def test_testing_on_a_local_cluster_gives_what_one_machine_gives(make_image, run_main, tmp_path):
    for number in range(5):
        make_image(f"Test/{number % 2}/{number}.png", 40 + number, 50, seed=number)
    outputs = {}
    for name, arguments in {"alone": [], "cluster": ["--cluster=local"]}.items():
        done = run_main("--is_train=False", f"--sample_dir={name}", f"--log_dir={name}-logs", *arguments)
        assert done.stderr == ""
        outputs[name] = re.sub(r" +\d+\.\d\d$", "", done.stdout.replace(name, "NAME"), flags=re.MULTILINE)
    assert outputs["cluster"] == outputs["alone"]
    found, expected = files(tmp_path / "cluster"), files(tmp_path / "alone")
    rows = [found.pop(Path("results.csv")), expected.pop(Path("results.csv"))]
    del found[Path("index.html")], expected[Path("index.html")]  # which have the same seconds
    assert found == expected
    without_seconds = [[line.split(b",")[:-2] + line.split(b",")[-1:] for line in text.splitlines()] for text in rows]
    assert without_seconds[0] == without_seconds[1]
    assert len(without_seconds[0]) == 6


def test_without_a_terminal_progress_is_a_line_per_minute(monkeypatch, capsys):
    now = itertools.count(0, 25)  # each look at the clock is 25 seconds after the last one
    monkeypatch.setattr(jobs.time, "monotonic", lambda: next(now))
    with jobs.Progress(200, jobs.MEGAPIXELS) as bar:
        for _ in range(6):
            bar.update(20.5)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{n} of 200.0 megapixels [0{t}]" for n, t in (("61.5", "1:15<02:48"), ("123.0", "2:30<01:33"))]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "tcp://no.such.host.invalid:8786"])
def test_without_a_scheduler_the_error_says_so(address, monkeypatch):
    monkeypatch.setattr(jobs, "PATIENCE", 1)
    with pytest.raises(RunError, match=f"--cluster={address}: no scheduler"):
        next(jobs.map_on_cluster(str, [1], address))


def test_the_fingerprint_of_the_program_is_that_of_its_files(monkeypatch, tmp_path):
    def fingerprint(files):
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(content)
        return jobs.program_fingerprint.__wrapped__()

    assert jobs.program_fingerprint() == jobs.program_fingerprint.__wrapped__()
    monkeypatch.setattr("srcnn_tf.__file__", str(tmp_path / "__init__.py"))
    same = fingerprint({"__init__.py": b"", "a.py": b"a = 1\n", "weights/x.h5": b"1"})
    assert fingerprint({"a.py": b"a = 1\r\n", "a.pyc": b"compiled"}) == same
    for files in (
        {"a.py": b"a = 2\n"},
        {"a.py": b"a = 1\n", "weights/x.h5": b"2"},
        {"weights/x.h5": b"1", "b.py": b""},
    ):
        assert fingerprint(files) != same


@pytest.mark.slow
def test_a_worker_with_other_files_is_refused(monkeypatch):
    monkeypatch.setattr(jobs, "program_fingerprint", lambda: "other")
    ((_, error),) = jobs.map_on_cluster(str, ["a.png"], "local")
    assert re.match("a.png: worker tcp://.* has other files of srcnn_tf than this machine", str(error))


@pytest.mark.slow
def test_an_image_that_ends_its_workers_is_reported():
    ((item, error),) = jobs.map_on_cluster(os._exit, [1], "local")
    assert (item, str(error)) == (1, "1: 4 workers died while they processed it.")


def test_training_on_dask_is_refused():
    with pytest.raises(UsageError, match="TF_CONFIG"):
        Config(cluster="local")


def test_without_dask_the_error_names_the_extra(make_image, run_main, tmp_path):
    make_image("a.png")
    (tmp_path / "hidden" / "distributed").mkdir(parents=True)
    (tmp_path / "hidden" / "distributed" / "__init__.py").write_text("raise ImportError('hidden')")
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from srcnn_tf import cli; sys.exit(cli.run())"
    done = subprocess.run(
        [sys.executable, "-c", program, "--input=a.png", "--cluster=local"],
        env=program_environment() | {"PYTHONPATH": str(tmp_path / "hidden")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'srcnn_tf[cluster]'" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_cluster_that_lives_on_uses_the_weights_of_now(make_image, run_main, start, scheduler, tmp_path):
    """Two commands on the same worker, with another training between them, upscale as one machine does."""
    make_image("a.png")
    start("worker", scheduler, "--nthreads", "1", "--no-nanny")
    config, results = Config(degradation="matlab", filters="6,4"), []
    flags = ["--input=a.png", "--filters=6,4", "--degradation=matlab", "--overwrite"]
    for seed in (0, 1):
        save(network(filters=(6, 4), initialization="he", seed=seed), config)
        run_main(*flags, "--output=cluster.png", f"--cluster={scheduler}")
        run_main(*flags, "--output=alone.png")
        results.append(Path("cluster.png").read_bytes())
        assert results[-1] == Path("alone.png").read_bytes()
    assert results[0] != results[1]
