"""Runs trainings that are killed, many in little time: the test's script, started once, forks a process for each.

It reads one JSON object a line, {"config": path, "log": path, "moment": {...} or null}, starts
`python -m groundr1.train config` as a child that has everything imported already, and answers with one line,
{"killed": bool, "code": exit status or null, "seconds": ...}. A moment is one of

    {"seconds": 0.4}                                                SIGKILL from outside, wherever the child is
    {"at": "torch.save", "call": 2, "when": "before" | "half" | "after"}      SIGKILL at a call of `MOMENTS`
    {"at": ..., "call": ..., "fill": folder, "leave": bytes}        the folder's disk is full from that call on
"""

import importlib
import json
import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from groundr1 import trainer
from groundr1.train import main

assert trainer.train  # imported before the first fork, for its imports


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def half_of_file(position: int) -> Callable:
    """The call writes its file, of which half stays."""

    def half(call: Callable, arguments: tuple) -> None:
        call()
        path = Path(arguments[position])
        os.truncate(path, path.stat().st_size // 2)

    return half


def half_of_content(call: Callable, arguments: tuple) -> None:
    path, content = arguments
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])


def half_of_folder(call: Callable, arguments: tuple) -> None:
    """Removing a folder gets as far as half of its files; which, the file system decides, so the named ones first."""
    files = sorted(path for path in Path(arguments[0]).rglob("*") if path.is_file())
    for path in files[: (len(files) + 1) // 2]:
        path.unlink()


def half_of_line(call: Callable, arguments: tuple) -> None:
    write = os.write
    os.write = lambda file, line: (write(file, line[: len(line) // 2]), kill())
    call()


def half_of_rollout(call: Callable, arguments: tuple) -> None:
    """Killed in the fourth forward of the language model."""
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLTextModel

    forward, count = Qwen2_5_VLTextModel.forward, iter(range(10**6))
    Qwen2_5_VLTextModel.forward = lambda *args, **named: (
        (next(count) == 3 and kill()) or forward(*args, **named)
    )
    call()


# Name -> module, attribute, what half of a call is, and a word that one of its paths (folder/file) holds.
MOMENTS: dict[str, tuple[str, str, Callable | None, str]] = {
    "rollout": ("groundr1.srpo_trainer", "ground_and_answer", half_of_rollout, ""),
    "optimizer step": ("torch.optim", "AdamW.step", None, ""),
    "rollout table": ("pathlib", "Path.write_bytes", half_of_content, "step_"),
    "rollout table's rename": ("os", "replace", None, "step_"),
    "metrics row": ("groundr1.metrics_log", "MetricsLog._append", half_of_line, ""),
    "metrics header": ("pathlib", "Path.write_bytes", half_of_content, "metrics"),
    "checkpoint's beginning": ("groundr1.checkpoints", "begin", None, ""),
    "weights": ("safetensors.torch", "serialize_file", half_of_file(1), ""),
    "torch.save": ("torch", "save", half_of_file(1), ""),
    "trainer state": ("transformers", "TrainerState.save_to_json", half_of_file(1), ""),
    "checkpoint's index": ("pathlib", "Path.write_bytes", half_of_content, "files.json"),
    "index's rename": ("os", "replace", None, "files.json"),
    "old checkpoint's deletion": ("shutil", "rmtree", half_of_folder, "checkpoint-"),
    "old checkpoint's rename": ("pathlib", "Path.rename", None, "checkpoint-"),
    "manifest": ("pathlib", "Path.write_bytes", half_of_content, "manifest.json"),
    "manifest's rename": ("os", "replace", None, "manifest.json"),
    "truncation": ("groundr1.runs", "Run.truncate_after", None, ""),
    "truncated metrics": ("os", "replace", None, "metrics.csv"),
    "truncated rollouts": ("pathlib", "Path.unlink", None, "step_"),
    "final model": ("groundr1.trainer", "save_final_model", None, ""),
    "final model's rename": ("pathlib", "Path.rename", None, "model"),
    "final model's weights": ("safetensors.torch", "serialize_file", half_of_file(1), "model/"),
    "summary": ("pathlib", "Path.write_bytes", half_of_content, "summary.json"),
    "summary's rename": ("os", "replace", None, "summary.json"),
}


def act(moment: dict[str, Any]) -> None:
    if "fill" not in moment:
        kill()
    folder, free = Path(moment["fill"]), shutil.disk_usage(moment["fill"]).free
    with open(folder / "filler", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free - moment["leave"], 1))


def install(moment: dict[str, Any]) -> None:
    """Put the moment into the running program, in place of the function that it is a call of."""
    module, attribute, half, word = MOMENTS[moment["at"]]
    owner: Any = importlib.import_module(module)
    *path, name = attribute.split(".")
    for each in path:
        owner = getattr(owner, each)
    original, calls = getattr(owner, name), iter(range(1, 10**9))

    def hooked(*arguments: Any, **named: Any) -> Any:
        def call() -> Any:
            return original(*arguments, **named)

        paths = ["/".join(Path(each).parts[-2:]) for each in arguments if isinstance(each, str | Path)]
        if not any(word in each for each in paths or [word]) or next(calls) != moment["call"]:
            return call()
        when = moment.get("when", "before")
        result = half(call, arguments) if when == "half" else call() if when == "after" else None
        act(moment)
        return call() if when == "before" else result

    setattr(owner, name, hooked)


def child(order: dict[str, Any], environment: dict[str, str]) -> None:
    os.environ |= environment
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    moment = order["moment"] or {}
    if "at" in moment and moment.get("process", 0) == int(environment.get("RANK", 0)):
        install(moment)
    try:
        code = main([order["config"]])
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def environments(processes: int) -> list[dict[str, str]]:
    """What torchrun tells its processes."""
    if processes == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": processes,
        "LOCAL_WORLD_SIZE": processes,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    ranks = [{**shared, "RANK": rank, "LOCAL_RANK": rank} for rank in range(processes)]
    return [{name: str(value) for name, value in each.items()} for each in ranks]


def attempt(order: dict[str, Any]) -> dict[str, Any]:
    """Until all processes have ended; when one ends badly the others are killed, as a launcher does."""
    Path(order["log"]).unlink(missing_ok=True)
    begun, running = time.monotonic(), set()
    for environment in environments(order["processes"]):
        process = os.fork()
        if not process:
            child(order, environment)
        running.add(process)
    seconds, killed, codes = (order["moment"] or {}).get("seconds", float("inf")), False, []
    while running:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended:
            running.remove(ended)
            killed |= os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            codes += [os.WEXITSTATUS(status)] if os.WIFEXITED(status) else []
        if (status if ended else 0) or time.monotonic() - begun > seconds:
            seconds = float("inf")
            for process in running:
                os.kill(process, signal.SIGKILL)
        time.sleep(0 if ended else 0.002)
    return {"killed": killed, "code": max(codes, default=None), "seconds": time.monotonic() - begun}


def serve() -> None:
    """Answer orders until there are no more."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(attempt(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
