"""How a model is opened."""

import os
from pathlib import Path

import numpy as np
import pytest

from bench.runtime import providers, session


def test_the_facts_are_what_the_session_really_has(onnx_file: Path) -> None:
    """The record of a run does not merely repeat what was meant."""
    options = session.make_session(onnx_file, threads=3).get_session_options()
    facts = session.session_options_facts(3)
    assert options.intra_op_num_threads == facts["intra_op_num_threads"] == 3
    assert options.inter_op_num_threads == facts["inter_op_num_threads"]
    assert options.execution_mode.name == "ORT_" + str(facts["execution_mode"]).upper()
    assert options.graph_optimization_level.name == "ORT_ENABLE_" + str(facts["graph_optimization_level"]).upper()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == str(facts["allow_spinning"])


def test_a_session_computes(onnx_file: Path) -> None:
    """On the CPU, by default."""
    opened = session.make_session(onnx_file, threads=1)
    scaled, total = opened.run(None, {"x": np.array([[1, 2]], np.float32), "k": np.array([[3]])})
    assert (scaled.tolist(), total.tolist()) == ([[3.0, 6.0]], [[9.0]])


def test_a_gpu_that_cannot_be_had_is_an_error_and_not_the_cpu(onnx_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what was asked for and what stands against it."""
    monkeypatch.setattr(providers, "obstacle", lambda provider, device, package, load: f"no {provider} {device}")
    with pytest.raises(RuntimeError, match=r"scale\.onnx: cuda:1 was asked for: no cuda 1"):
        session.make_session(onnx_file, threads=1, provider="cuda", device=1)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_model_that_would_run_on_the_cpu_after_all_is_an_error(onnx_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left to itself ONNX Runtime falls back without a word, and a CPU would be measured as a GPU."""
    monkeypatch.setattr(providers, "obstacle", lambda *asked: "")
    with pytest.raises(RuntimeError, match="a part of the model has no operators in CUDAExecutionProvider and would run on"):
        session.make_session(onnx_file, threads=1, provider="cuda")
    monkeypatch.setattr(providers, "session_entries", lambda provider: {})
    with pytest.raises(RuntimeError, match="CUDAExecutionProvider was asked for, ONNX Runtime created CPUExecutionProvider"):
        session.make_session(onnx_file, threads=1, provider="cuda")


def test_what_onnx_runtime_says_against_a_model_stays_its_own_on_the_cpu(tmp_path: Path) -> None:
    """Only of a GPU is it put into other words."""
    with pytest.raises(Exception, match=r"nowhere\.onnx") as raised:
        session.make_session(tmp_path / "nowhere.onnx", threads=1)
    assert not isinstance(raised.value, RuntimeError)


def test_every_usable_core_is_the_default() -> None:
    """Those that the process may run on, not those that the machine has."""
    assert session.default_threads() == len(os.sched_getaffinity(0))


def test_onnx_runtime_uploads_nothing_from_the_processes_that_are_measured() -> None:
    """Its wheels do so by default; servers started from here inherit the setting."""
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
