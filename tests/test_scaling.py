"""The files of docs/scaling: what they start, with Slurm's commands replaced, and what Kubernetes' schema says."""

import json
import os
import subprocess
import sys
import time

import kubernetes_validate
import pytest
import yaml
from conftest import ROOT

from srcnn_tf.system import devices

FOLDER = ROOT / "docs" / "scaling"
COMMANDS = {
    "scontrol": 'printf "%s\\n" first second third',
    # Runs the command once per machine, one after the other.
    "srun": 'while [[ $1 == --* ]]; do shift; done; for SLURM_PROCID in 0 1 2; do export SLURM_PROCID; "$@"; done',
    "python": f'exec {sys.executable} -c "import json, os, sys; '
    'print(json.dumps([os.environ.get(\\"TF_CONFIG\\"), sys.argv[1:]]))" "$@"',
    "dask": 'echo "dask $*" >> dask.log',
    "hostname": "echo first",
}


@pytest.fixture
def submit(tmp_path):
    """Runs a batch script as Slurm does on the first of three machines; returns what `python` was called with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in COMMANDS.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    given = {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "[1-3]", "SLURM_CPUS_PER_TASK": "4"}

    def run(name, *arguments):
        command = ["bash", FOLDER / name, *arguments]
        done = subprocess.run(command, env=os.environ | given, capture_output=True, text=True, check=True, timeout=30)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.mark.linux
def test_slurm_starts_a_worker_on_each_machine(submit, monkeypatch):
    calls = submit("train.sbatch", "--train_dir=my images")
    assert [words for _, words in calls] == [["main.py", "--is_train=True", "--train_dir=my images"]] * 3
    for number, (text, _) in enumerate(calls):
        monkeypatch.setenv("TF_CONFIG", text)
        assert devices.worker_number() == (number, 3)
        assert json.loads(text)["cluster"]["worker"] == ["first:23456", "second:23456", "third:23456"]


@pytest.mark.linux
def test_slurm_starts_a_scheduler_and_workers(submit, tmp_path):
    assert submit("upscale.sbatch", "--input=my scans") == [
        [None, ["main.py", "--cluster=tcp://first:8786", "--input=my scans"]]
    ]
    log, scheduler = tmp_path / "dask.log", "dask scheduler --port 8786 --no-dashboard"
    for _ in range(300):  # the script does not wait for what it starts beside the program
        if log.is_file() and scheduler in log.read_text().splitlines():
            break
        time.sleep(0.1)
    started = set(log.read_text().splitlines())
    assert scheduler in started
    assert started <= {
        scheduler,
        "dask worker tcp://first:8786 --nworkers 4 --nthreads 1 --no-dashboard",
    }


@pytest.mark.parametrize("name", ["train.yaml", "upscale.yaml"])
def test_kubernetes_accepts_the_files(name):
    documents = list(yaml.safe_load_all((FOLDER / name).read_text()))
    assert len(documents) > 1
    for document in documents:
        kubernetes_validate.validate(document, "1.33", strict=True)


@pytest.mark.linux
def test_kubernetes_starts_a_worker_per_index(monkeypatch):
    _, job = yaml.safe_load_all((FOLDER / "train.yaml").read_text())
    shell, flag, script = job["spec"]["template"]["spec"]["containers"][0]["command"]
    printing = script.replace("exec srcnn_tf", "printenv TF_CONFIG #")
    assert printing != script
    for index in range(job["spec"]["completions"]):
        environment = os.environ | {"JOB_COMPLETION_INDEX": str(index)}
        done = subprocess.run([shell, flag, printing], env=environment, capture_output=True, text=True, check=True)
        monkeypatch.setenv("TF_CONFIG", done.stdout)
        assert devices.worker_number() == (index, job["spec"]["completions"])
        assert json.loads(done.stdout)["cluster"]["worker"][index] == f"srcnn-train-{index}.srcnn:23456"
