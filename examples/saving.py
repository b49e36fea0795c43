"""How the models of this repository are saved."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

EXAMPLES = Path(__file__).resolve().parent
TEST_MODELS = EXAMPLES.parent / "tests" / "models"
SEED = 1


def signature(function: Callable, **inputs: tuple):
    """Trace a function that returns a dict of outputs.

    Each keyword names an input and gives its shape and dtype.
    """
    specs = {
        name: tf.TensorSpec(shape, dtype, name=name)
        for name, (shape, dtype) in inputs.items()
    }
    return tf.function(function).get_concrete_function(**specs)


def save(module: tf.Module, out: Path, signatures: dict) -> None:
    """Save the module in place of whatever is at `out`."""
    shutil.rmtree(out, ignore_errors=True)
    tf.saved_model.save(module, str(out), signatures=signatures)
