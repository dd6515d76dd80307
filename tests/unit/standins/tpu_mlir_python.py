"""A stand-in for the Python that has TPU-MLIR: it holds the command lines to what TPU-MLIR's own tools take.

Its bmodel is the ONNX file itself, and ONNX Runtime answers where the chip's model would: nothing is compiled or
emulated here. Run as that Python is: ``STANDIN SCRIPT probe | tool NAME ARGUMENTS... | serve BMODEL``; first may come
``--old`` (no tpu_mlir is found), ``--failing`` (the compiler refuses) or ``--dying`` (the chip's model ends early).
"""

import argparse
import importlib.util
import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np

FINAL = """
module @m attributes {module.chip = "bm1684x"} {
    func.func @main(%arg0: tensor<1x3xf32>) -> tensor<1x8xf32> {
      %1 = call @subfunc_0(%0) : (tensor<1x3xf32>) -> tensor<1x8xf32> loc(#loc)
    func.func @subfunc_0(%arg0: tensor<1x3xf32>) -> tensor<1x8xf32> attributes {mode = #tpu<run_mode TPU_STATIC>} {
      %1 = "top.Weight"() {path = "tpu.Conv2D.weight"} : () -> tensor<1x8xf16, 4294967296 : i64> loc(#loc2)
      %2 = "tpu.Group"(%arg0) ({
        %201 = "tpu.Load"(%1) {do_bcast = false} : (tensor<1x8xf16>) -> tensor<1x8xf16> loc(#loc4)
        %203 = "tpu.MatMul"(%202, %201, %0) {do_relu = false} : (tensor<1x8xf16>, none) -> tensor<1x8xf16> loc(#loc5)
      }) {run_core = 0 : i64} : (tensor<1x3xf32>) -> tensor<1x8xf16, 4297 : i64> loc(#loc6)
      %3 = "tpu.Cast"(%203) {with_scale = true} : (tensor<1x8xf16, 4297 : i64>) -> tensor<1x8xf32, 4298 : i64> loc(#l)
"""


def tool(name, arguments):
    """Check a command line, and write what the tool would."""
    asked = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=True)
    wanted = {
        "model_transform.py": "model_name model_def input_shapes pixel_format test_input test_result mlir",
        "model_deploy.py": "mlir quantize chip test_input test_reference tolerance model",
    }[name]
    for each in wanted.split():
        asked.add_argument(f"--{each}", required=True)
    given = asked.parse_args(arguments)
    fed = np.load(given.test_input)
    if name == "model_transform.py":
        (rows,) = fed.values()
        assert json.loads(given.input_shapes) == [list(rows.shape)]
        assert given.pixel_format == "rgb"
        np.savez(f"{given.model_name}_in_f32.npz", **fed)
        np.savez(given.test_result, **fed)
        shutil.copyfile(given.model_def, given.mlir)
        return
    assert (given.quantize, given.chip) == ("F16", "bm1684x")
    assert np.load(given.test_reference)
    shutil.copyfile(given.mlir, given.model)
    Path(f"{Path(given.model).stem}_bm1684x_f16_final.mlir").write_text(FINAL, encoding="utf-8")


def serve(script, bmodel, *, dying):
    """Answer as the script would, from the ONNX file."""
    import onnxruntime

    spec = importlib.util.spec_from_file_location("script", script)
    frames = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(frames)
    session = onnxruntime.InferenceSession(Path(bmodel).read_bytes(), providers=["CPUExecutionProvider"])
    (port,) = session.get_inputs()
    while (call := frames.receive(sys.stdin.buffer)) is not None:
        if call and dying:
            sys.exit("the chip's model met an instruction that it does not know")
        if call:
            fed = np.load(io.BytesIO(call), allow_pickle=False)
            assert (fed.dtype, list(fed.shape)) == (np.float32, port.shape)
            kind = np.int64 if port.type == "tensor(int64)" else np.float32
            answer = io.BytesIO()
            np.save(answer, session.run(None, {port.name: fed.astype(kind)})[0])
            frames.send(sys.stdout.buffer, answer.getvalue())
        else:
            told = {"input": {"shape": port.shape}, "libraries": ["libcmodel_bm1684x.so"], "calls": 0}
            frames.send(sys.stdout.buffer, json.dumps(told).encode())


def main(arguments):
    """Do what is asked, as one of the kinds."""
    kind = arguments.pop(0) if arguments[0].startswith("--") else ""
    script, verb, *rest = arguments
    assert Path(script).name == "tpu_mlir_tool.py"
    assert not [name for name in os.environ if name.startswith("PYTHON")]
    if verb == "probe":
        missing = ["tpu_mlir"] if kind == "--old" else []
        release = "1.30.1" if kind == "--failing" else "1.30.2"
        sys.stdout.write(json.dumps({"python": "3.10.13", "tpu_mlir": release, "missing": missing}))
    elif verb == "tool" and kind == "--failing":
        sys.exit("RuntimeError: Op not support:{'LpNormalization'}")
    elif verb == "tool":
        tool(rest[0], rest[1:])
    else:
        serve(script, rest[0], dying=kind == "--dying")


if __name__ == "__main__":
    main(sys.argv[1:])
