"""TF-GAN's losses and metrics, for TensorFlow versions on which TF-GAN 2.1.0 cannot be imported as a whole.

``import tensorflow_gan`` needs ``tf.estimator``, which TensorFlow 2.16 removed, and ``distutils``, which Python 3.12
removed. The modules with losses and metrics need neither, but their package's ``__init__`` imports the rest. This
module imports them below empty parent modules, which it then removes from ``sys.modules``.
"""

import importlib
import importlib.util
import sys
import types

import tensorflow as tf

from hamgan.errors import UserError

_ROOT = "tensorflow_gan"
_PARENTS = (_ROOT, f"{_ROOT}.python", f"{_ROOT}.python.eval", f"{_ROOT}.python.losses")


def _import_modules(*names: str) -> list[types.ModuleType]:
    """Imports modules of ``tensorflow_gan.python`` without executing the ``__init__`` of their packages."""
    # Locates the package without executing it.
    spec = importlib.util.find_spec(_ROOT)
    if spec is None or not spec.submodule_search_locations:
        raise UserError("expected tensorflow-gan 2.1.0, found none: pip install tensorflow-gan==2.1.0")
    root = spec.submodule_search_locations[0]
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == _ROOT}
    for name in before:
        del sys.modules[name]
    try:
        for name in _PARENTS:
            parent = types.ModuleType(name)
            parent.__path__ = [root + name.removeprefix(_ROOT).replace(".", "/")]
            sys.modules[name] = parent
        return [importlib.import_module(f"{_ROOT}.python.{name}") for name in names]
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == _ROOT]:
            del sys.modules[name]
        sys.modules.update(before)


_metrics, _losses = _import_modules("eval.classifier_metrics", "losses.losses_impl")

classifier_score_from_logits = _metrics.classifier_score_from_logits
frechet_classifier_distance_from_activations = _metrics.frechet_classifier_distance_from_activations
run_classifier_fn = _metrics.run_classifier_fn
trace_sqrt_product = _metrics.trace_sqrt_product
wasserstein_hinge_discriminator_loss = _losses.wasserstein_hinge_discriminator_loss
wasserstein_hinge_generator_loss = _losses.wasserstein_hinge_generator_loss


def kernel_classifier_distance_and_std_from_activations(
    activations1: tf.Tensor, activations2: tf.Tensor, max_block_size: int = 1024
) -> tuple[tf.Tensor, tf.Tensor]:
    """Calls TF-GAN's function of this name without TensorFlow's deprecation warning."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        return _metrics.kernel_classifier_distance_and_std_from_activations(activations1, activations2, max_block_size)
    finally:
        logger.setLevel(level)
