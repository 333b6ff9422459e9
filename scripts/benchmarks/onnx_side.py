"""Forward passes as onnxruntime does them, of the network that torch writes as ONNX: for orientation."""

import io

import onnxruntime
import torch

from benchmarks import minigrad_side, torch_side
from minigrad.kernels import thread_count


def steps(case, folder):
    """{"onnxruntime": step}"""
    images, file = minigrad_side.inputs(case), io.BytesIO()
    torch.onnx.export(torch_side.load(folder, case.network).eval(), (torch.from_numpy(images),), file, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    session = onnxruntime.InferenceSession(file.getvalue(), options, ["CPUExecutionProvider"])
    fed = {session.get_inputs()[0].name: images}
    return {"onnxruntime": lambda: session.run(None, fed)[0]}
