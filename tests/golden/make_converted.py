"""Write converted.zip: MobileNetV2 and EfficientNet-B0 as TensorFlow's converter writes them.

    pip install tensorflow-cpu==2.21.0            (keras 3.15.1)
    PYTHONPATH=. python tests/golden/make_converted.py

The networks are Keras' own, a tenth as wide, with the weights of our networks (``narrow.py``):
once with a free batch, once for one image with weights in half precision.  Beside each: what
LiteRT makes of an image of ``weights.py``.
"""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf
import weights
from keras.applications import MobileNetV2
from keras.src.applications.efficientnet import EfficientNet
from narrow import CLASSES, own

HERE = Path(__file__).parent
SIZE = (32, 32, 3)


def mobilenet_v2():
    return MobileNetV2(SIZE, alpha=0.1, weights=None, classes=CLASSES, classifier_activation=None)


def efficientnet_b0():
    return EfficientNet(0.1, 1.0, 32, input_shape=SIZE, weights=None, classes=CLASSES,
                        classifier_activation=None, name="efficientnetb0")  # fmt: skip


NETWORKS = {
    "mobilenet_v2": (mobilenet_v2, "slim"),
    "efficientnet_b0": (efficientnet_b0, "tensorflow"),
}


def with_weights(model, state):
    """The arrays in order: both networks name their layers in the order of the computation."""
    arrays = iter(state.values())
    for layer in model.layers:
        if layer.weights and layer.name != "normalization":
            layer.set_weights([turned(layer, next(arrays)) for _ in layer.weights])
    assert next(arrays, None) is None
    return model


def turned(layer, array):
    """A filter of ours as Keras has it."""
    if array.ndim < 4:
        return array.T
    depthwise = "Depthwise" in type(layer).__name__
    return array.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))


def converted(model, batch, half=False):
    """The file, for a number of images or any (None)."""
    signature = tf.TensorSpec((batch, *SIZE), tf.float32)
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, input_signature=[signature], verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if half:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return converter.convert()


def run(content, x):
    """LiteRT's output."""
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def main():
    x = weights.image(32).transpose(0, 2, 3, 1).astype("f4")
    with zipfile.ZipFile(HERE / "converted.zip", "w") as file:

        def add(name, content):
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            file.writestr(info, content, zipfile.ZIP_LZMA)

        for name, (make, preset) in NETWORKS.items():
            model = with_weights(make(), own(name, preset).state_dict())
            scale = 255 if name == "efficientnet_b0" else 1  # this network divides by 255 itself
            files = {"free": converted(model, None), "half": converted(model, 1, half=True)}
            for kind, content in files.items():
                add(f"{name}.{kind}.tflite", content)
                buffer = io.BytesIO()
                np.save(buffer, run(content, x * np.float32(scale)))
                add(f"{name}.{kind}.npy", buffer.getvalue())


if __name__ == "__main__":
    main()
