"""Context modules by attention, compared with the published code and with NumPy in float64."""

import golden_files
import keras
import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers import CrissCrossAttention, DoubleAttention, EfficientAttention, MultiHeadAttention, NonLocal


def convolution(own, official):
    return {f"{official}.weight": f"{own}.kernel", f"{official}.bias": f"{own}.bias"}


NON_LOCAL = {**convolution("g", "g.conv"), **convolution("out", "conv_out.conv")}
EMBEDDED = {**NON_LOCAL, **convolution("theta", "theta.conv"), **convolution("phi", "phi.conv")}
DOUBLE = {
    **convolution("features", "convA"),
    **convolution("gather", "convB"),
    **convolution("distribute", "convV"),
    **convolution("out", "conv_reconstruct"),
}
EFFICIENT = {
    **convolution("query", "queries"),
    **convolution("key", "keys"),
    **convolution("value", "values"),
    **convolution("out", "reprojection"),
}
CRISS_CROSS = {
    **convolution("query", "query_conv"),
    **convolution("key", "key_conv"),
    **convolution("value", "value_conv"),
    "gamma": "sigma",
}


def branch(module, inputs, training):
    return module.context(inputs, training=training)


# File: class, arguments, our weight for each official one, function that gives the golden output (a call if None).
CASES = {
    "nonlocal_gaussian": (NonLocal, {"mode": "gaussian"}, NON_LOCAL, None),
    "nonlocal_embedded_gaussian": (NonLocal, {}, EMBEDDED, None),
    "nonlocal_embedded_gaussian_unscaled": (NonLocal, {"use_scale": False, "reduction": 1}, EMBEDDED, None),
    "nonlocal_dot_product": (NonLocal, {"mode": "dot_product"}, EMBEDDED, None),
    # The original has no residual sum.
    "a2_paper": (DoubleAttention, {"feature_channels": 6, "attention_channels": 8}, DOUBLE, branch),
    "efficient_1head": (EfficientAttention, {"key_channels": 8, "value_channels": 12}, EFFICIENT, None),
    "efficient_2head": (EfficientAttention, {"key_channels": 8, "value_channels": 12, "num_heads": 2}, EFFICIENT, None),
    "crisscross_1x": (CrissCrossAttention, {"recurrence": 1}, CRISS_CROSS, None),
    "crisscross_2x": (CrissCrossAttention, {}, CRISS_CROSS, None),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_module_matches_the_published_code(name, dtype):
    kind, arguments, names, output = CASES[name]

    def make(dtype):
        return kind(**arguments, spectral_norm=False, dtype=dtype)

    golden_files.check(name, make, names, output=output, dtype=dtype)


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def projected(part, x):
    """The 1x1 convolution of one image, shape (N, channels)."""
    return x @ part.kernel.numpy()[0, 0] + (part.bias.numpy() if part.use_bias else 0.0)


def non_local(layer, x, height, width):
    values = projected(layer.g, x)
    if layer.mode == "gaussian":
        return projected(layer.out, softmax(x @ x.T) @ values)
    scores = projected(layer.theta, x) @ projected(layer.phi, x).T
    if layer.mode == "dot_product":
        return projected(layer.out, scores / len(x) @ values)
    return projected(layer.out, softmax(scores / (np.sqrt(values.shape[1]) if layer.use_scale else 1.0)) @ values)


def multi_head_attention(layer, x, height, width):
    heads = [np.split(projected(part, x), layer.num_heads, axis=1) for part in (layer.query, layer.key, layer.value)]
    attended = [softmax(q @ k.T / np.sqrt(q.shape[1])) @ v for q, k, v in zip(*heads, strict=True)]
    return projected(layer.out, np.concatenate(attended, axis=1))


def double_attention(layer, x, height, width):
    gathered = projected(layer.features, x).T @ softmax(projected(layer.gather, x), axis=0)
    return projected(layer.out, softmax(projected(layer.distribute, x), axis=1) @ gathered.T)


def efficient_attention(layer, x, height, width):
    heads = [np.split(projected(part, x), layer.num_heads, axis=1) for part in (layer.query, layer.key, layer.value)]
    attended = [softmax(q, axis=1) @ (softmax(k, axis=0).T @ v) for q, k, v in zip(*heads, strict=True)]
    return projected(layer.out, np.concatenate(attended, axis=1))


def criss_cross_attention(layer, x, height, width):
    rows, columns = np.divmod(np.arange(height * width), width)
    on_path = (rows[:, None] == rows) | (columns[:, None] == columns)
    sigma, start = float(layer.sigma.numpy()), x
    for _ in range(layer.recurrence):
        scores = np.where(on_path, projected(layer.query, x) @ projected(layer.key, x).T, -np.inf)
        x = x + sigma * softmax(scores) @ projected(layer.value, x)
    return (x - start) / sigma


# Class, arguments, NumPy function of (layer, positions of one image, height, width) that computes the branch.
REFERENCES = {
    "non_local": (NonLocal, {"reduction": 3}, non_local),
    "non_local_gaussian": (NonLocal, {"mode": "gaussian", "use_bias": False}, non_local),
    "non_local_dot_product": (NonLocal, {"mode": "dot_product"}, non_local),
    "multi_head_attention": (MultiHeadAttention, {"num_heads": 3, "use_bias": True}, multi_head_attention),
    "double_attention": (DoubleAttention, {}, double_attention),
    "efficient_attention": (EfficientAttention, {"num_heads": 3}, efficient_attention),
    "criss_cross": (CrissCrossAttention, {"recurrence": 1, "reduction": 4}, criss_cross_attention),
    "criss_cross_twice": (CrissCrossAttention, {"reduction": 4}, criss_cross_attention),
}
CHANNELS = 12


def random_layer(name, dtype="float64", **arguments):
    """A layer with random weights and sigma 0.7."""
    kind, own, _ = REFERENCES[name]
    layer = kind(**own, **{"spectral_norm": False, **arguments}, dtype=dtype)
    layer.build((None, None, None, CHANNELS))
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape, scale=0.5))
    layer.sigma.assign(0.7)
    if layer.spectral_norm:
        for part in convolutions(layer):
            # The first singular vector, where the gradient of the estimated norm is exact.
            part.u.assign(np.linalg.svd(part.kernel.numpy()[0, 0])[0][:, :1])
    return layer


def convolutions(layer):
    return [part for part in layer._flatten_layers(include_self=False) if hasattr(part, "kernel")]


def images(batch, height, width):
    return np.random.default_rng(0).normal(size=(batch, height, width, CHANNELS))


@pytest.mark.parametrize("name", REFERENCES)
def test_outputs_of_other_sizes_match_the_equations(name):
    layer, reference = random_layer(name), REFERENCES[name][2]
    for x in (images(3, 5, 4), images(1, 1, 6)):
        _, height, width, _ = x.shape
        branch = [reference(layer, image.reshape(-1, CHANNELS), height, width).reshape(image.shape) for image in x]
        expected = x + 0.7 * np.stack(branch)
        assert golden_files.relative(layer(x), expected) < 1e-12


@pytest.mark.parametrize("name", REFERENCES)
def test_gradients_match_finite_differences(name):
    # Spectrally normalised in one case: its gradient is tested with SNConv2D.
    layer, x = random_layer(name, spectral_norm=name == "multi_head_attention"), tf.constant(images(2, 3, 4))
    rng = np.random.default_rng(2)
    upstream = rng.normal(size=x.shape)
    weights = layer.trainable_weights
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x) * upstream)
    gradients = [np.asarray(gradient) for gradient in tape.gradient(loss, [x, *(weight.value for weight in weights)])]
    # One step in the inputs and all weights, in which each has a share of the slope of the order of 1.
    directions = [rng.normal(size=gradient.shape) for gradient in gradients]
    shares = [np.sum(gradient * direction) for gradient, direction in zip(gradients, directions, strict=True)]
    directions = [
        direction / share if abs(share) > 1e-9 else direction
        for direction, share in zip(directions, shares, strict=True)
    ]
    start = [weight.numpy() for weight in weights]

    def moved_loss(step):
        for weight, value, direction in zip(weights, start, directions[1:], strict=True):
            weight.assign(value + step * direction)
        return float(tf.reduce_sum(layer(x + step * directions[0]) * upstream))

    step = 1e-5
    found = sum(np.sum(gradient * direction) for gradient, direction in zip(gradients, directions, strict=True))
    assert found == pytest.approx((moved_loss(step) - moved_loss(-step)) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("name", ["non_local", "criss_cross_twice"])
def test_spectral_norm_divides_every_kernel(name):
    layer, x = random_layer(name, spectral_norm=True), images(2, 3, 4)
    for part in convolutions(layer):
        part.kernel.assign(part.kernel / np.linalg.norm(part.kernel.numpy()[0, 0], 2))
    plain = random_layer(name)
    for weight, other in zip(layer.trainable_weights, plain.trainable_weights, strict=True):
        other.assign(weight)
    expected = plain(x)
    for part in convolutions(layer):
        part.kernel.assign(3.0 * part.kernel)
    assert golden_files.relative(layer(x), expected) < 1e-12


def test_one_pass_of_criss_cross_attention_reaches_the_row_and_column_and_two_reach_all():
    x = 0.1 * images(1, 4, 5)  # Small, so that no weight is rounded to 0.
    changed = x.copy()
    changed[0, 1, 2] += 0.1
    reached = []
    for name in ("criss_cross", "criss_cross_twice"):
        layer = random_layer(name)
        reached.append(np.abs(layer(changed) - layer(x)).max(-1)[0] > 0)
    rows, columns = np.indices((4, 5))
    np.testing.assert_array_equal(reached[0], (rows == 1) | (columns == 2))
    assert reached[1].all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NonLocal(mode="concatenation"), "mode must be one of .*received 'concatenation'"),
        (lambda: NonLocal(mode="gaussian", use_scale=False), "use_scale=False goes with mode='embedded_gaussian'"),
        (lambda: NonLocal(reduction=0), "reduction must be positive, received 0"),
        (lambda: CrissCrossAttention(recurrence=0), "recurrence must be positive, received 0"),
        (lambda: DoubleAttention(feature_channels=0), "feature_channels must be positive, received 0"),
        (lambda: MultiHeadAttention(num_heads=5)(images(1, 2, 2)), "5 heads and expects a multiple as channels, rec"),
        (lambda: EfficientAttention(num_heads=4)(images(1, 2, 2)), "4 heads and expects a multiple as key_channels"),
        (lambda: NonLocal(batch_norm="instance"), "batch_norm must be one of"),
        (lambda: NonLocal(batch_norm="plain", num_classes=3), "num_classes goes with batch_norm='conditional'"),
        (lambda: NonLocal()(images(1, 2, 2), labels=np.array([0])), "expects no labels"),
    ],
)
def test_invalid_arguments_are_rejected(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def model_of_all(x, size=(None, None), batch=None):
    """A model of every class of modules in turn, and its outputs."""
    inputs = keras.Input((*size, CHANNELS), batch_size=batch)
    outputs = inputs
    for kind, arguments, _ in {case[0]: case for case in REFERENCES.values()}.values():
        outputs = kind(**arguments)(outputs)
    model = keras.Model(inputs, outputs)
    for weight in model.weights:
        if weight.path.endswith("sigma"):
            weight.assign(0.7)
    return model, model(x)


def test_layers_are_saved_with_a_model(tmp_path):
    x = images(2, 3, 4)
    model, expected = model_of_all(x)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(x), expected)


@pytest.mark.slow
def test_layers_are_exported_with_unknown_sizes(tmp_path):
    x = images(2, 3, 4)
    model, expected = model_of_all(x)
    model.export(str(tmp_path / "saved"), verbose=False)
    saved = tf.saved_model.load(str(tmp_path / "saved"))
    served = saved.serve(tf.constant(x, tf.float32))
    np.testing.assert_allclose(served, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_layers_are_converted_to_tflite():
    x = images(1, 3, 4).astype(np.float32)
    model, expected = model_of_all(x, size=(3, 4), batch=1)
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    outputs = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
