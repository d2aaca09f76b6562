import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from hamgan.config import override, to_json
from hamgan.distribution import strategies as distribution
from hamgan.distribution.strategies import create_strategy, is_chief, num_input_pipelines, replica_batch
from hamgan.errors import PreemptedError, UserError
from hamgan.runs.checkpoints import checkpoint_path, latest_checkpoint, write_checkpoint
from hamgan.runs.directory import RunDirectory
from hamgan.training.gan import train
from hamgan.training.state import TrainState

STEPS = 5
EVERY_AUGMENTATION_AND_PENALTY = [
    *(f"augmentation.{name}=true" for name in ("flip", "color", "translation", "cutout")),
    *("regularization.r1=0.1", "regularization.r1_interval=2", "regularization.lecam=0.1"),
    *("regularization.consistency_real=1", "regularization.consistency_fake=0.5"),
]
SLOTS = ("momentum", "velocity")


def _few_steps(tiny, precision, steps):
    settings = [f"precision={precision}", f"steps={steps}", f"steps_per_loop={steps}"]
    return override(
        tiny, [f"train.{setting}" for setting in [*settings, f"checkpoint_every={steps}", "global_batch=8"]]
    )


@pytest.fixture(scope="module")
def config(tiny):
    """V1 NMF in both networks, the published optimizer, every augmentation and every penalty.

    In float64, because float32 rounding changes the sign of a millionth of the inputs of relu, and the gradient by the
    square root of that share.
    """
    return override(_few_steps(tiny, "float64", STEPS), EVERY_AUGMENTATION_AND_PENALTY)


@pytest.fixture(scope="module")
def begun(config, tmp_path_factory):
    return _begin(config, tmp_path_factory)


def _begin(config, tmp_path_factory):
    """A run at step 0 with active Hamburgers: sigma is not 0."""
    run = RunDirectory(str(tmp_path_factory.mktemp("runs") / "begun"))
    run.create(config)
    state = TrainState(config)
    for network in (state.generator, state.discriminator):
        network.context[0].sigma.assign(0.5)
    write_checkpoint(checkpoint_path(run.checkpoints, 0), state.variables())
    return run


def _values(run):
    reader = tf.train.load_checkpoint(latest_checkpoint(run.checkpoints))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {
        name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE").replace(".S", "/"): reader.get_tensor(name) for name in names
    }


def _trained(config, begun, path, strategy):
    shutil.copytree(begun.path, path)
    run = RunDirectory(str(path))
    train(config, run, strategy)
    return _values(run)


@pytest.fixture(scope="module")
def on_one_device(config, begun, tmp_path_factory, eager_execution):
    with eager_execution():
        return _trained(config, begun, tmp_path_factory.mktemp("one") / "run", tf.distribute.get_strategy())


def _assert_same_trajectory(values, expected):
    """Every weight, statistic, average and slot to 1e-6, relative."""
    assert values.keys() == expected.keys()
    cancelled = {name for name, value in expected.items() if name.endswith("bias") and np.linalg.norm(value) < 1e-10}
    # Biases before a batch normalisation: their gradients are rounding and nothing else.
    assert 0 < len(cancelled) <= 10
    slots = {f"generator_optimizer/{name.replace('/', '_')}_{slot}" for name in cancelled for slot in SLOTS}
    for name, value in expected.items():
        if name in cancelled | slots:
            assert np.linalg.norm(values[name]) < 1e-10, name
        else:
            assert np.linalg.norm(values[name] - value) <= 1e-6 * np.linalg.norm(value), name


@pytest.mark.slow
def test_two_replicas_take_the_same_trajectory_as_one_device(config, begun, on_one_device, tmp_path, two_replicas):
    _assert_same_trajectory(_trained(config, begun, tmp_path / "run", two_replicas), on_one_device)


WORKER = """
import sys
import tensorflow as tf
tf.config.run_functions_eagerly(sys.argv[4] == "eager")
from hamgan.config import experiment_from_json
from hamgan.runs.directory import RunDirectory
from hamgan.distribution.strategies import create_strategy
from hamgan.training.gan import train

strategy = create_strategy("cpu", cpu_replicas=int(sys.argv[3]))
train(experiment_from_json(open(sys.argv[1]).read(), "test"), RunDirectory(sys.argv[2]), strategy)
"""


def _train_in_processes(config, begun, tmp_path, tf_configs, cpu_replicas=1, execution="compiled"):
    """Trains in one process per TF_CONFIG; returns the run."""
    config_path = tmp_path / "config.json"
    config_path.write_text(to_json(config))
    path = str(tmp_path / "run")
    shutil.copytree(begun.path, path)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(config_path), path, str(cpu_replicas), execution],
            env={**os.environ, "TF_CONFIG": tf_config},
            stderr=subprocess.PIPE,
            text=True,
        )
        for tf_config in tf_configs
    ]
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(tf_configs), said
    return RunDirectory(path)


@pytest.mark.slow
def test_four_replicas_take_the_same_trajectory_as_one_device(config, begun, on_one_device, tmp_path):
    """Runs in a separate process: TensorFlow allows one set of collective devices per process."""
    run = _train_in_processes(config, begun, tmp_path, [""], cpu_replicas=4, execution="eager")
    _assert_same_trajectory(_values(run), on_one_device)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_in_float32_two_replicas_differ_by_rounding(tiny, tmp_path_factory, two_replicas):
    """With the published optimizer, whose steps have the size of the learning rate whatever the gradient's."""
    config = _few_steps(tiny, "float32", 3)
    begun = _begin(config, tmp_path_factory)
    expected, values = (
        _trained(config, begun, tmp_path_factory.mktemp("replicas") / "run", strategy)
        for strategy in (tf.distribute.get_strategy(), two_replicas)
    )
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        if "_optimizer" not in name and not name.endswith(("beta", "bias")):
            assert np.linalg.norm(values[name] - value) <= 5e-3 * np.linalg.norm(value), name


@pytest.mark.slow
def test_two_processes_take_the_same_trajectory_as_one(config, begun, on_one_device, tmp_path, free_ports):
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    tf_configs = [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in range(2)]
    run = _train_in_processes(config, begun, tmp_path, tf_configs)
    _assert_same_trajectory(_values(run), on_one_device)
    assert [row["step"] for row in run.read_metrics()] == [STEPS]


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_two_processes_start_from_the_weights_of_another_run(tiny, tmp_path_factory, tmp_path, free_ports):
    """The optimizers of ``begun`` are new, so that starting from its weights is the same as resuming it."""
    config = _few_steps(tiny, "float64", 2)
    begun = _begin(config, tmp_path_factory)
    expected = _trained(config, begun, tmp_path / "one", tf.distribute.get_strategy())
    config = override(config, [f"train.init_from={begun.path}"])
    new = RunDirectory(str(tmp_path / "new"))
    new.create(config)
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    tf_configs = [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in range(2)]
    run = _train_in_processes(config, new, tmp_path, tf_configs)
    assert run.read_initialization().checkpoint == checkpoint_path(begun.checkpoints, 0)
    _assert_same_trajectory(_values(run), expected)


@pytest.mark.parametrize(("batch", "remedy"), [(7, "use 6 or 8"), (1, "use 2")])
def test_an_indivisible_batch_is_rejected(batch, remedy, two_replicas):
    with pytest.raises(UserError, match=f"multiple of the 2 replicas, found {batch}; {remedy}"):
        replica_batch(batch, two_replicas)


TWO_WORKERS = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": %s}}'


@pytest.mark.parametrize(
    ("arguments", "tf_config", "message"),
    [
        ({"accelerator": "tpux"}, "", "must be one of auto, cpu, gpu, tpu"),
        ({"cpu_replicas": 0}, "", "--cpu_replicas must be positive"),
        ({"accelerator": "gpu"}, "", "TensorFlow finds no GPU"),
        ({"accelerator": "gpu", "cpu_replicas": 2}, "", "--cpu_replicas requires --accelerator cpu"),
        ({"accelerator": "cpu", "zone": "us-central1-a"}, "", "--zone and --project require --accelerator tpu"),
        ({"accelerator": "tpu", "project": "mine"}, "", "require a named TPU, found --tpu local"),
        ({"accelerator": "tpu"}, TWO_WORKERS % 0, "unset TF_CONFIG"),
        ({"cpu_replicas": 2}, TWO_WORKERS % 0, "TF_CONFIG names several workers: unset one"),
        ({}, TWO_WORKERS % 2, r"TF_CONFIG must read .* \(ValueError: task worker 2 is not in its cluster\)"),
        ({}, "{", "TF_CONFIG must read .*JSONDecodeError"),
        ({}, '{"cluster": {"worker": ["a:1", "b:1"]}}', "TF_CONFIG must read .*KeyError"),
    ],
)
def test_unavailable_strategies_are_rejected(monkeypatch, arguments, tf_config, message):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda devices, kind: None)
    monkeypatch.setenv("TF_CONFIG", tf_config)
    with pytest.raises(UserError, match=message):
        create_strategy(**arguments)


@pytest.mark.parametrize(
    ("arguments", "resolved", "connects"),
    [
        ({"accelerator": "tpu"}, {"tpu": "local", "zone": None, "project": None}, False),
        ({"tpu": "local"}, {"tpu": "local", "zone": None, "project": None}, False),
        ({"tpu": "pod", "zone": "z", "project": "p"}, {"tpu": "pod", "zone": "z", "project": "p"}, True),
    ],
)
def test_a_tpu_is_found_connected_and_initialised_in_this_order(monkeypatch, arguments, resolved, connects):
    """Replaces TensorFlow's TPU calls, because the test machine has no TPU."""
    calls = []

    def record(name):
        return lambda *args, **kwargs: calls.append((name, args, kwargs)) or name

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", record("resolver"))
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", record("connect"))
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", record("initialize"))
    monkeypatch.setattr(tf.distribute, "TPUStrategy", record("strategy"))
    assert create_strategy(**arguments) == "strategy"
    expected = ["resolver", "connect", "initialize", "strategy"] if connects else ["resolver", "initialize", "strategy"]
    assert [name for name, _, _ in calls] == expected
    assert calls[0][2] == resolved


def test_a_missing_tpu_is_a_one_line_error(monkeypatch):
    def missing(**_):
        raise tf.errors.NotFoundError(None, None, "TPU not found\nat all")

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", missing)
    with pytest.raises(UserError, match=r"cannot use the TPU 'local' \(TPU not found\); expected a TPU VM"):
        create_strategy("tpu")


@pytest.mark.parametrize(
    ("cluster", "task", "expected"),
    [
        ({"worker": ["a:1", "b:1"]}, ("worker", 0), True),
        ({"worker": ["a:1", "b:1"]}, ("worker", 1), False),
        ({"chief": ["a:1"], "worker": ["b:1"]}, ("chief", 0), True),
        ({"chief": ["a:1"], "worker": ["b:1"]}, ("worker", 0), False),
    ],
)
def test_one_worker_is_the_chief(monkeypatch, cluster, task, expected):
    resolver = SimpleNamespace(task_type=task[0], task_id=task[1], cluster_spec=lambda: tf.train.ClusterSpec(cluster))
    strategy = SimpleNamespace(cluster_resolver=resolver)
    monkeypatch.setattr(distribution, "is_multi_worker", lambda strategy: True)
    assert is_chief(strategy) is expected
    assert num_input_pipelines(strategy) == 2


@pytest.mark.parametrize("error", [tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError])
def test_a_failed_worker_is_a_preemption_of_the_others(monkeypatch, error):
    def lose_a_worker():
        with distribution.worker_failures_as_preemption(tf.distribute.get_strategy()):
            raise error(None, None, "Socket closed")

    with pytest.raises(error):
        lose_a_worker()
    monkeypatch.setattr(distribution, "is_multi_worker", lambda strategy: True)
    with pytest.raises(PreemptedError, match=r"a worker of the cluster failed .* start all workers again"):
        lose_a_worker()
