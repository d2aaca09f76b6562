import numpy as np
import pytest
import tensorflow as tf
from golden import SETS, ham_overrides, official_checkpoint

from hamgan.cli.main import main
from hamgan.config import override
from hamgan.config.presets import hamgan_strong
from hamgan.errors import FailedError, UserError
from hamgan.networks.build import build_discriminator, build_generator
from hamgan.published.convert import convert_official, convert_to_official
from hamgan.runs.checkpoints import checkpoint_path, network_variables, write_checkpoint
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.trained_weights import find_checkpoint, load_generator


def _tensors(path):
    reader = tf.train.load_checkpoint(path)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def _write(path, tensors):
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(path),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )
    return str(path)


def _assert_equal(ones, others):
    assert ones.keys() == others.keys()
    for name, value in ones.items():
        assert value.dtype == others[name].dtype
        np.testing.assert_array_equal(value, others[name], err_msg=name)


def _back(run_path, out):
    run = RunDirectory(str(run_path))
    step, path = find_checkpoint(run, "latest")
    return convert_to_official(run.read_config(), path, str(out), step=step)


@pytest.fixture(scope="module")
def tensors():
    return _tensors(official_checkpoint("v1_nmf"))


@pytest.mark.parametrize("name", SETS)
def test_a_round_trip_is_bit_identical(name, tmp_path):
    conversion = convert_official(official_checkpoint(name), str(tmp_path / "run"), overrides=ham_overrides(name))
    assert conversion.step == 1234
    assert conversion.ignored == ("global_step",)
    _assert_equal(_tensors(official_checkpoint(name)), _tensors(_back(tmp_path / "run", tmp_path / "official")))


def test_the_architecture_is_inferred_from_the_shapes(tmp_path):
    overrides = ham_overrides("v2_cd_s2")
    model = convert_official(official_checkpoint("v2_cd_s2"), str(tmp_path / "run"), overrides=overrides).config.model
    assert (model.resolution, model.num_classes, model.generator.z_dim) == (128, 10, 128)
    for network in (model.generator, model.discriminator):
        (ham,) = network.context
        assert (network.base_channels, ham.version, ham.resolution, ham.latent_dim) == (4, "v2", 32, 16)
        assert (ham.ham, ham.num_sections, ham.rank, ham.num_steps) == ("cd", 2, 4, 6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["model.generator.base_channels=3", "model.discriminator.base_channels=5", "model.num_classes=7"],
        ["model.generator.context.0.version=v2", "model.discriminator.context=none", "model.generator.z_dim=20"],
        ["model.generator.context=none", "model.discriminator.context.0.resolution=16"],
        ["model.generator.context.0.num_sections=3", "model.generator.context.0.resolution=64"],
        ["model.resolution=64", "model.discriminator.context.0.version=v2"],
    ],
)
def test_other_architectures_round_trip(overrides, tmp_path):
    small = ["model.num_classes=3", "model.generator.base_channels=2", "model.discriminator.base_channels=2"]
    hams = [f"model.{network}.context.0.latent_dim=6" for network in ("generator", "discriminator")]
    config = override(override(hamgan_strong(), [*small, *hams]), overrides)
    networks = [build_generator(config.model), build_discriminator(config.model)]
    variables = {key: value for network in networks for key, value in network_variables(network).items()}
    for index, variable in enumerate(variables.values()):
        variable.assign(tf.random.stateless_normal(variable.shape, (index, 0)))
    write_checkpoint(str(tmp_path / "ours" / "ckpt-77"), variables)
    official = convert_to_official(config, str(tmp_path / "ours" / "ckpt-77"), str(tmp_path / "official"), step=77)

    recorded = ("base_channels", "num_classes", "z_dim", "resolution", "version", "latent_dim", "context=none")
    kept = [assignment for assignment in overrides if not any(field in assignment for field in recorded)]
    conversion = convert_official(official, str(tmp_path / "run"), overrides=kept)
    assert conversion.config.model == config.model
    assert convert_official(official, str(tmp_path / "run2"), preset=config).config.model == config.model
    run = RunDirectory(str(tmp_path / "run"))
    reader = tf.train.load_checkpoint(find_checkpoint(run, "77")[1])
    for key, variable in variables.items():
        value = reader.get_tensor(f"{key.replace('/', '.S')}/.ATTRIBUTES/VARIABLE_VALUE")
        np.testing.assert_array_equal(value, variable.numpy(), err_msg=key)
    _assert_equal(_tensors(official), _tensors(_back(tmp_path / "run", tmp_path / "again")))


def _float64_run(tmp_path):
    """A float64 run and its variables."""
    config = override(
        hamgan_strong(),
        [
            *("train.precision=float64", "model.resolution=64", "model.num_classes=3"),
            *("model.generator.base_channels=2", "model.discriminator.base_channels=2"),
            *("model.generator.context.0.latent_dim=6", "model.discriminator.context.0.latent_dim=6"),
        ],
    )
    run = RunDirectory(str(tmp_path / "run[1]"))
    run.create(config)
    networks = [build(config.model, precision="float64") for build in (build_generator, build_discriminator)]
    variables = {key: value for network in networks for key, value in network_variables(network).items()}
    for index, variable in enumerate(variables.values()):
        variable.assign(tf.random.stateless_normal(variable.shape, (index, 0), dtype=tf.float64))
    write_checkpoint(checkpoint_path(run.checkpoints, 7), variables)
    return run, config, variables


def test_float64_runs_are_converted_to_float32_and_back_to_either(tmp_path):
    run, config, variables = _float64_run(tmp_path)
    official = _back(run.path, tmp_path / "official")
    tensors = _tensors(official)
    assert tensors.pop("global_step") == 7
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float32)}
    kernel = variables["generator/dense/kernel"].numpy()
    np.testing.assert_array_equal(tensors["Generator/generator/g_snh0/dense/kernel"], kernel.astype(np.float32))
    for name, precision in (("float32", "float32"), ("float64", "float64")):
        preset = override(config, [f"train.precision={precision}"])
        converted = RunDirectory(str(tmp_path / name))
        convert_official(official, converted.path, preset=preset)
        generator = load_generator(converted.read_config(), find_checkpoint(converted, "7")[1], "raw")
        assert generator.variable_dtype == precision
        _assert_equal(_tensors(official), _tensors(_back(converted.path, tmp_path / f"again {name}")))


def test_paths_are_not_glob_patterns(tensors, tmp_path):
    folder = tmp_path / "published[1]*"
    folder.mkdir()
    path = _write(folder / "model.ckpt-5", tensors)
    run = tmp_path / "run?[2]"
    assert convert_official(path, str(run), overrides=ham_overrides("v1_nmf")).step == 1234
    back = _back(run, tmp_path / "back[3]")
    assert sorted(entry.name for entry in (tmp_path / "back[3]").iterdir()) == [
        *("checkpoint", "model.ckpt-1234.data-00000-of-00001", "model.ckpt-1234.index")
    ]
    copied = tmp_path / "copied"
    (tmp_path / "back[3]").rename(copied)
    _assert_equal({**tensors}, _tensors(str(copied / back.split("/")[-1])))


def test_unwritable_output_folders_are_rejected_first(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(tf.train, "load_checkpoint", None)
    with pytest.raises(UserError, match=r"--out .*file/below is not writable"):
        convert_official(official_checkpoint("v1_nmf"), str(tmp_path / "file" / "below"))
    with pytest.raises(UserError, match=r"--out .*file/below is not writable"):
        convert_to_official(hamgan_strong(), str(tmp_path / "ckpt-1"), str(tmp_path / "file" / "below"), step=1)


def test_a_full_disk_leaves_no_partial_files(tmp_path, monkeypatch):
    run, _, _ = _float64_run(tmp_path)
    rename = tf.io.gfile.rename

    def full(source, target, **options):
        if "model.ckpt" in target:
            raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")
        rename(source, target, **options)

    monkeypatch.setattr(tf.io.gfile, "rename", full)
    with pytest.raises(FailedError, match=r"cannot write .*model\.ckpt-7: No space left on device"):
        _back(run.path, tmp_path / "official")
    assert list((tmp_path / "official").iterdir()) == []


def test_optimizer_slots_are_listed_as_ignored(tensors, tmp_path):
    kernel = "Generator/generator/g_snh0/dense/kernel"
    extra = {f"{kernel}/Adam": tensors[kernel], f"{kernel}/Adam_1": tensors[kernel]}
    extra.update(
        {name: np.float32(0.5) for name in ("beta1_power", "beta2_power", "beta1_power_1", "Discriminator/beta2_power")}
    )
    path = _write(tmp_path / "model.ckpt-5", {**tensors, **extra})
    conversion = convert_official(path, str(tmp_path / "run"), overrides=ham_overrides("v1_nmf"))
    assert set(conversion.ignored) == {*extra, "global_step"}
    assert set(conversion.loaded) | set(conversion.ignored) == set(tensors) | set(extra)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("Generator/generator/g_bn/beta"), "missing: Generator/generator/g_bn/beta"),
        (
            lambda t: t.update({"Generator/generator/g_bn/delta": np.zeros(3)}),
            "unknown: Generator/generator/g_bn/delta",
        ),
        (
            lambda t: t.update({"Discriminator/discriminator/d_sn_linear/dense/bias": np.zeros(2, np.float32)}),
            r"misshapen: Discriminator/discriminator/d_sn_linear/dense/bias \(expected \(1,\), found \(2,\)\)",
        ),
        (lambda t: t.pop("Generator/generator/g_snh0/dense/kernel"), "lacks Generator/generator/g_snh0/dense/kernel"),
        (lambda t: t.pop("Discriminator/discriminator/d_ops/sn_lower_bread/weights"), "lacks .*sn_lower_bread/weights"),
        (lambda t: [t.pop(name) for name in list(t) if name.startswith("G")], "expected a published HamGAN checkpoint"),
    ],
)
def test_mismatched_variables_are_listed_and_nothing_is_written(tensors, change, message, tmp_path):
    changed = dict(tensors)
    change(changed)
    path = _write(tmp_path / "model.ckpt-5", changed)
    with pytest.raises(UserError, match=message):
        convert_official(path, str(tmp_path / "run"), overrides=ham_overrides("v1_nmf"))
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith("run")]


def test_presets_are_compared_with_the_checkpoint(tmp_path):
    with pytest.raises(UserError, match=r"another architecture: expected model.num_classes 1000, found 10; "):
        convert_official(official_checkpoint("v1_nmf"), str(tmp_path / "run"), preset=hamgan_strong())


def test_overrides_are_compared_with_the_checkpoint(tmp_path):
    with pytest.raises(UserError, match=r"expected model\.num_classes 12, found 10"):
        convert_official(official_checkpoint("v1_nmf"), str(tmp_path / "run"), overrides=["model.num_classes=12"])


def test_without_global_step_the_step_comes_from_the_name(tensors, tmp_path):
    del (without := dict(tensors))["global_step"]
    path = _write(tmp_path / "model.ckpt-42", without)
    assert convert_official(path, str(tmp_path / "run"), overrides=ham_overrides("v1_nmf")).step == 42
    path = _write(tmp_path / "renamed", without)
    with pytest.raises(UserError, match="does not end in -STEP"):
        convert_official(path, str(tmp_path / "run2"), overrides=ham_overrides("v1_nmf"))


def test_the_command_converts_samples_and_converts_back(tmp_path, capsys):
    run = str(tmp_path / "run")
    arguments = ["--out", run, "--override", *ham_overrides("v1_nmf")]
    assert main(["convert", "--official", official_checkpoint("v1_nmf"), *arguments]) == 0
    text = capsys.readouterr().out
    assert "step 1234" in text
    assert "global_step" in text
    assert "model.generator.context.0.rank = 4" in text
    picture = tmp_path / "x.png"
    assert main(["sample", "--run", run, "--out", str(picture), "--per_class", "2"]) == 0
    assert tf.io.decode_png(picture.read_bytes()).shape[0] == 10 * 128
    assert main(["convert", "--to-official", "--run", run, "--out", str(tmp_path / "back")]) == 0
    _assert_equal(_tensors(official_checkpoint("v1_nmf")), _tensors(tf.train.latest_checkpoint(str(tmp_path / "back"))))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x"], "one of the arguments --official --to-official is required"),
        (["--official", "{tmp}/model.ckpt-1", "--out", "{tmp}/run"], "there is no"),
        (["--official", "x", "--out", "{tmp}"], "exists; choose another --out"),
        (["--official", "x", "--out", "{tmp}/run", "--preset", "hamgan_babi"], "did you mean 'hamgan_baby'"),
        (["--official", "x", "--out", "{tmp}/run", "--run", "y"], "--run requires --to-official"),
        (["--official", "x", "--out", "{tmp}/run", "--checkpoint", "3"], "--checkpoint requires --to-official"),
        (["--to-official", "--out", "{tmp}/run"], "--to-official requires --run"),
        (["--to-official", "--run", "{tmp}/none", "--out", "{tmp}/x"], "no run in"),
        (["--to-official", "--run", "x", "--out", "{tmp}/x", "--preset", "digits"], "require --official"),
    ],
)
def test_invalid_input_is_reported_in_one_line_with_exit_code_2(arguments, message, tmp_path, capsys):
    try:
        code = main(["convert", *(argument.format(tmp=tmp_path) for argument in arguments)])
    except SystemExit as stop:
        code = stop.code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_without_access_is_a_clear_error(tmp_path, monkeypatch):
    exists = tf.io.gfile.exists

    def refuse(path):
        if path.startswith("gs://"):
            raise tf.errors.PermissionDeniedError(None, None, "403 Forbidden")
        return exists(path)

    monkeypatch.setattr(tf.io.gfile, "exists", refuse)
    with pytest.raises(UserError, match=r"gs://bucket/model\.ckpt-1 cannot be read: 403 Forbidden"):
        convert_official("gs://bucket/model.ckpt-1", str(tmp_path / "run"))


def test_existing_files_are_not_overwritten(tmp_path):
    run = tmp_path / "run"
    convert_official(official_checkpoint("v1_nmf"), str(run), overrides=ham_overrides("v1_nmf"))
    _back(run, tmp_path / "official")
    with pytest.raises(UserError, match="exists; choose another --out"):
        _back(run, tmp_path / "official")


def test_unsupported_networks_are_rejected(tmp_path):
    two = override(hamgan_strong(), ["model.generator.context.1.module=hamburger"])
    with pytest.raises(UserError, match=r"at most one Hamburger; model.generator.context has hamburger, hamburger"):
        convert_to_official(two, str(tmp_path / "ckpt-1"), str(tmp_path / "official"), step=1)
    gray = override(hamgan_strong(), ["model.channels=1"])
    with pytest.raises(UserError, match=r"published networks have RGB images; model.channels is 1"):
        convert_to_official(gray, str(tmp_path / "ckpt-1"), str(tmp_path / "official"), step=1)
