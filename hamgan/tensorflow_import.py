"""Importing TensorFlow without the notes that it writes before anybody can ask it not to."""

import os
import sys
import tempfile
import warnings


def import_tensorflow_quietly(*, start: bool = True) -> None:
    """Imports TensorFlow with the process's standard error set aside; shows what was written if the import fails.

    TensorFlow 2.21 logs its instruction sets and missing GPU libraries from C++, whatever its log level, when it is
    imported and when it first looks for devices. The training loop says what it runs on.

    Args:
        start: whether to look for devices, which starts threads that do not survive a fork.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # tensorflow-hub 0.16 needs it, and pyproject.toml sees to a version of setuptools that has it.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            import tensorflow as tf

            if start:
                tf.config.list_physical_devices()
        except BaseException:
            aside.seek(0)
            os.write(stderr, aside.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
