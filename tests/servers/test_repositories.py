"""What a tritonserver is given to serve: folders on the disk, and nothing started."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format  # type: ignore[import-untyped]
from tritonclient.grpc import model_config_pb2

from bench import words
from bench.recipes.catalog import BuiltModel
from bench.servers import repositories
from bench.servers.base import HubModel, OwnModel
from bench.servers.generating import Scheduling
from bench.servers.triton_options import Settings
from bench.tensors import TensorSpec

INPUT, OUTPUT = TensorSpec("input", "FP32", (-1, -1)), TensorSpec("logits", "FP32", (-1, 10))
SETTINGS = Settings(batching="dynamic", instances=2, threads=3, max_batch=8, max_queue_delay_us=500, gpu=False)
SCHEDULED = replace(SETTINGS, generating=Scheduling("continuous", 4, 512, 0))


@pytest.fixture
def model(tmp_path: Path) -> BuiltModel:
    """A model of two files, in the cache."""
    version = tmp_path / "cache" / "m" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(b"graph")
    (version / "weights.bin").write_bytes(b"weights")
    return BuiltModel("m", "fp32", "full", version.parent, version / "model.onnx", "0" * 64, 1, (INPUT,), (OUTPUT,), 32)


def config(folder: Path, name: str = "m") -> model_config_pb2.ModelConfig:
    return text_format.Parse((folder / name / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def parameters(folder: Path) -> dict[str, str]:
    return {key: value.string_value for key, value in config(folder).parameters.items()}


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_python_backend_gets_code_and_is_told_where_the_model_is(model: BuiltModel, tmp_path: Path) -> None:
    """No copy of the weights, and no link: ONNX Runtime refuses weights behind one that leaves the model's folder."""
    folder = repositories.place(repositories.for_wheel(model, SETTINGS), tmp_path / "models")
    assert {"m/config.pbtxt", "m/1/model.py", "m/1/bench/runtime/session.py"} < {*files(folder)}
    assert not [name for name in files(folder) if not name.endswith((".py", ".pbtxt"))]
    assert (config(folder).backend, config(folder).max_batch_size) == ("python", 8)
    assert parameters(folder) == {"onnx_file": str(model.onnx), "threads": "3"}


def test_on_a_gpu_each_batch_size_has_a_session(model: BuiltModel, tmp_path: Path) -> None:
    """Powers of two and the largest; not where nothing is joined, nor of a model whose lengths vary anyway."""

    def sizes(settings: Settings, name: str, **changes: Any) -> str | None:
        folder = repositories.place(repositories.for_wheel(replace(model, **changes), settings), tmp_path / name)
        return parameters(folder).get("batch_sizes")

    gpu = replace(SETTINGS, gpu=True, batching="dynamic", max_batch=12)
    assert sizes(gpu, "a") == "1,2,4,8,12"
    assert sizes(replace(gpu, max_batch=32), "b") == "1,2,4,8,16,32"
    assert sizes(replace(gpu, gpu=False), "c") is None
    assert sizes(replace(gpu, batching="off"), "d") is None
    assert sizes(gpu, "e", padded=True) is None


def test_a_model_that_is_padded_says_so(model: BuiltModel, tmp_path: Path) -> None:
    """Triton hands over requests of different lengths, and model.py has to expect them."""
    folder = repositories.place(repositories.for_wheel(replace(model, padded=True), SETTINGS), tmp_path / "models")
    assert parameters(folder)["padded"] == "true"
    assert config(folder).input[0].allow_ragged_batch


def test_a_model_that_generates_is_told_how_to_schedule(model: BuiltModel, tmp_path: Path) -> None:
    """Every option of a word arrives where it is carried out."""
    repository = repositories.for_wheel(replace(model, context=2048), SCHEDULED)
    folder = repositories.place(repository, tmp_path / "models")
    assert parameters(folder) == {
        "onnx_file": str(model.onnx),
        "threads": "3",
        "batching": "continuous",
        "slots": "4",
        "context": "512",
        "prefill_chunk": "0",
        "max_queue_delay_us": "500",
    }
    assert repository.facts["context"] == 512


def test_a_container_finds_each_file_of_the_model_where_an_empty_one_lies(model: BuiltModel, tmp_path: Path) -> None:
    """Nothing can be mounted over a link, or where nothing is; the session options are in the words of Triton's own backend."""
    repository = repositories.for_container(model, SETTINGS)
    folder = repositories.place(repository, tmp_path / "models")
    assert files(folder) == ["m/1/model.onnx", "m/1/weights.bin", "m/config.pbtxt"]
    assert {(folder / "m" / "1" / name).read_bytes() for name in ("model.onnx", "weights.bin")} == {b""}
    assert repository.volumes == tuple(
        f"{model.onnx.with_name(name)}:/models/m/1/{name}:ro" for name in ("model.onnx", "weights.bin")
    )
    assert config(folder).backend == "onnxruntime"
    assert parameters(folder) == {"intra_op_thread_count": "3", "inter_op_thread_count": "1", "execution_mode": "0"}


def test_tritons_own_backend_joins_equal_lengths_only_and_the_record_says_so(model: BuiltModel) -> None:
    """A comparison with the Python backend, which pads, would else mislead."""
    padded = replace(model, padded=True)
    assert repositories.for_container(padded, SETTINGS).facts["joins"] == "requests of equal length"
    assert "joins" not in repositories.for_container(model, SETTINGS).facts
    assert "joins" not in repositories.for_wheel(padded, SETTINGS).facts


def test_a_model_that_generates_runs_by_its_own_code_in_a_container_too(model: BuiltModel, tmp_path: Path) -> None:
    """The model's stock code, which may be older, is not what is mounted."""
    model.onnx.with_name("model.py").write_text("stock")
    repository = repositories.for_container(replace(model, context=2048), SCHEDULED)
    folder = repositories.place(repository, tmp_path / "models")
    assert {"m/1/model.py", "m/1/model.onnx", "m/1/weights.bin"} < {*files(folder)}
    assert "class TritonPythonModel" in (folder / "m" / "1" / "model.py").read_text()
    assert parameters(folder)["onnx_file"] == "/models/m/1/model.onnx"
    assert [volume.split(":")[1] for volume in repository.volumes] == ["/models/m/1/model.onnx", "/models/m/1/weights.bin"]


def test_a_folder_for_vllm_names_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What vLLM fetches is kept for the next run; prompts that come round again are read again, and the record says so."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    word = words.parse("triton?engine=vllm,via=docker,context=4096,max_batch=16")
    repository = repositories.for_vllm(HubModel("m", "org/name"), word, gpu=True)
    folder = repositories.place(repository, tmp_path / "models")
    assert files(folder) == ["m/1/model.json", "m/config.pbtxt"]
    assert config(folder).backend == "vllm"
    engine = json.loads((folder / "m" / "1" / "model.json").read_text())
    assert engine == {"model": "org/name", "max_model_len": 4096, "enable_prefix_caching": False, "max_num_seqs": 16}
    assert repository.volumes == (f"{tmp_path}/cache/huggingface:/root/.cache/huggingface",)
    assert (tmp_path / "cache" / "huggingface").is_dir()
    assert repository.facts == engine | {"device": "GPU"}


def test_a_checkpoint_of_the_users_is_mounted_for_vllm(tmp_path: Path) -> None:
    """Read-only; the record names the user's folder."""
    word = words.parse("triton?engine=vllm,via=docker")
    repository = repositories.for_vllm(HubModel("m", str(tmp_path)), word, gpu=True)
    folder = repositories.place(repository, tmp_path / "models")
    assert json.loads((folder / "m" / "1" / "model.json").read_text())["model"] == "/weights"
    assert repository.volumes == (f"{tmp_path}:/weights:ro",)
    assert repository.facts["model"] == str(tmp_path)


def test_a_repository_of_the_users_is_served_as_it_is_and_one_model_of_it_only(tmp_path: Path) -> None:
    """Nothing is written into it; other models there may be slow, large or broken."""
    (tmp_path / "theirs" / "own").mkdir(parents=True)
    repository = repositories.of_the_user(OwnModel("own", tmp_path / "theirs"), gpu=False)
    assert repositories.place(repository, tmp_path / "models") == tmp_path / "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]
    assert list((tmp_path / "theirs" / "own").iterdir()) == []
    assert repository.arguments == ("--model-control-mode=explicit", "--load-model=own")
    assert repository.volumes == (f"{tmp_path}/theirs:/models:ro",)
    assert repository.facts == {"device": "CPU", "repository": str(tmp_path / "theirs")}


def test_several_models_lie_in_one_repository_each_as_it_would_alone(model: BuiltModel, tmp_path: Path) -> None:
    """What is set alike is told once, what is not with the model's name."""
    other = replace(model, name="other", onnx=tmp_path / "other.onnx")
    alone = [repositories.for_wheel(model, SETTINGS), repositories.for_wheel(other, replace(SETTINGS, max_batch=4))]
    both = repositories.together(alone)
    folder = repositories.place(both, tmp_path / "both")
    assert files(folder) == sorted(
        name for n, one in enumerate(alone) for name in files(repositories.place(one, tmp_path / f"alone {n}"))
    )
    assert [(config(folder, name).name, config(folder, name).max_batch_size) for name in ("m", "other")] == [
        ("m", 8),
        ("other", 4),
    ]
    assert both.models == ("m", "other")
    assert both.backend == alone[0].backend
    facts = dict(alone[0].facts)
    assert both.facts == {k: v for k, v in facts.items() if k != "max_batch"} | {"m max_batch": 8, "other max_batch": 4}
    assert repositories.together(alone[:1]) == alone[0]


def test_several_models_of_a_container_bring_their_files_with_them(model: BuiltModel, tmp_path: Path) -> None:
    """Each where its own lies."""
    both = repositories.together([repositories.for_container(replace(model, name=name), SETTINGS) for name in ("m", "n")])
    assert [volume.split(":")[1] for volume in both.volumes] == [
        "/models/m/1/model.onnx", "/models/m/1/weights.bin", "/models/n/1/model.onnx", "/models/n/1/weights.bin",
    ]  # fmt: skip


def test_several_models_of_a_repository_of_the_users_are_loaded_and_no_others(tmp_path: Path) -> None:
    """The folder is mounted once."""
    both = repositories.together([repositories.of_the_user(OwnModel(name, tmp_path), gpu=False) for name in ("m", "n")])
    assert both.arguments == ("--model-control-mode=explicit", "--load-model=m", "--load-model=n")
    assert (both.own, both.volumes) == (tmp_path, (f"{tmp_path}:/models:ro",))
