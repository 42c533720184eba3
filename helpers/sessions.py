"""ONNX Runtime on the best execution provider that loads."""

from __future__ import annotations

import functools
from pathlib import Path

import joblib
import onnxruntime

CPU = "CPUExecutionProvider"
PROVIDERS = {
    "CUDAExecutionProvider": "CUDA",
    "TensorrtExecutionProvider": "TensorRT",
    "OpenVINOExecutionProvider": "OpenVINO",
    "CoreMLExecutionProvider": "CoreML",
    CPU: "CPU",
}
"""ONNX Runtime's execution providers in the order they are tried, and their names as shown."""


def open_session(onnx_path: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the best execution provider that loads; the CPU if none does.

    Opened once for each state of the file. `threads` per call of the network, by default as many
    as this process may use CPUs.
    """
    state = onnx_path.stat()
    return _opened(onnx_path, state.st_mtime_ns, state.st_size, threads or joblib.cpu_count())


@functools.lru_cache(maxsize=4)
def _opened(
    onnx_path: Path, _changed: int, _size: int, threads: int
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # a provider that does not load is reported here, once
    onnxruntime.set_default_logger_severity(4)
    try:
        for provider in installed_providers():
            chain = list(dict.fromkeys([provider, CPU]))
            try:
                session = onnxruntime.InferenceSession(
                    str(onnx_path), options, providers=chain, enable_fallback=False
                )
            except Exception as error:  # ONNX Runtime's errors have no common class
                if provider == CPU:
                    raise
                reason = str(error).strip().splitlines()[0]
            else:
                if session.get_providers()[0] == provider:
                    return session
                reason = "ONNX Runtime left it out"
            _report_once(provider, reason)
    finally:
        onnxruntime.set_default_logger_severity(2)  # as it is by default
    raise AssertionError("unreachable: the CPU's provider is in every ONNX Runtime")


def installed_providers() -> list[str]:
    """The execution providers of this ONNX Runtime that `PROVIDERS` knows, in its order."""
    return [name for name in PROVIDERS if name in onnxruntime.get_available_providers()]


def provider(onnx_path: Path) -> str:
    """The execution provider that runs this file here: CUDA, TensorRT, OpenVINO, CoreML or CPU."""
    return PROVIDERS[open_session(onnx_path).get_providers()[0]]


@functools.cache
def _report_once(provider: str, reason: str) -> None:
    print(
        f"Warning: {PROVIDERS[provider]} is installed but does not load ({reason}); the next "
        "execution provider is used, the CPU at last. Install its libraries to use it."
    )
