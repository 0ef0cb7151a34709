"""What is written to disk and read back, whole or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.baselines.checkpoints import Checkpoints, flatten, read_best, unflatten
from shoal.envs.core import UserError


def tree(seed):
    return {
        "weights": jax.random.normal(jax.random.key(seed), (3, 4)),
        "keys": jax.random.split(jax.random.key(seed), 2),
        "flags": (jnp.array([True, False]), jnp.zeros((0, 3)), ()),
        "count": jnp.asarray(seed, jnp.int32),
    }


def same(one, other):
    one, other = flatten(one), flatten(other)
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


@pytest.fixture
def folder(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for update in (1, 2, 10):
        params = flatten({"weights": tree(update)["weights"]})
        checkpoints.save(update, flatten(tree(update)), params, {"update": update, "x": 0.1})
        checkpoints.save_best(update, params, {"member": 0})
    checkpoints.wait()
    return tmp_path / "checkpoints"


def damage(path, how):
    files = sorted(file for file in path.rglob("*") if file.is_file())
    data = [file for file in files if file.name != "manifest.json"]
    file = max(data, key=lambda f: f.stat().st_size)
    if how == "truncated":
        file.write_bytes(file.read_bytes()[:-10])
    elif how == "changed":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif how == "missing":
        file.unlink()
    elif how == "manifest":
        (path / "manifest.json").write_text("{")
    elif how == "empty":
        for file in files:
            file.write_bytes(b"")


def test_everything_comes_back_bit_for_bit(folder):
    read = Checkpoints(folder).newest(pytest.fail)
    assert (read.update, read.progress) == (10, {"update": 10, "x": 0.1})
    back = unflatten(jax.eval_shape(lambda: tree(0)), read.state)
    assert same(back, tree(10))
    assert back["keys"].dtype == tree(10)["keys"].dtype
    np.testing.assert_array_equal(read.best["weights"], tree(10)["weights"])


def test_two_are_kept_and_one_best(folder):
    assert sorted(entry.name for entry in folder.iterdir()) == ["000000002", "000000010", "best"]
    assert [entry.name for entry in (folder / "best").iterdir()] == ["000000010"]
    params, note = read_best(folder)
    np.testing.assert_array_equal(params["weights"], tree(10)["weights"])
    assert note["member"] == 0


@pytest.mark.parametrize("how", ["truncated", "changed", "missing", "empty", "manifest"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(folder, how, capfd):
    damage(folder / "000000010", how)
    said = []
    read = Checkpoints(folder).newest(said.append)
    assert read.update == 2
    assert same(unflatten(jax.eval_shape(lambda: tree(0)), read.state), tree(2))
    assert len(said) == 1
    assert "000000010 is damaged and skipped" in said[0]
    assert (folder / "damaged" / "000000010").is_dir()  # put aside, so that the number is free again
    assert "Traceback" not in capfd.readouterr().err


def test_none_left_is_one_line_and_nothing_is_deleted(folder):
    for name in ("000000002", "000000010"):
        damage(folder / name, "truncated")
    with pytest.raises(UserError, match=r"every checkpoint in .* is damaged") as error:
        Checkpoints(folder).newest(lambda line: None)
    assert "\n" not in str(error.value)
    assert len(list((folder / "damaged").iterdir())) == 2


def test_an_empty_folder_is_no_error(tmp_path):
    assert Checkpoints(tmp_path / "new").newest(pytest.fail) is None
    with pytest.raises(UserError, match="no policy yet"):
        read_best(tmp_path / "new")


def test_a_damaged_best_is_one_line(folder):
    damage(folder / "best" / "000000010", "truncated")
    with pytest.raises(UserError, match="is damaged"):
        read_best(folder)


def test_leftovers_of_a_killed_write_are_cleared(folder):
    leftover = folder / "000000011.orbax-checkpoint-tmp"
    leftover.mkdir()
    (leftover / "part").touch()
    assert Checkpoints(folder).newest(pytest.fail).update == 10
    assert not leftover.exists()


def test_a_killed_moment_before_the_manifest_is_no_damage(folder):
    (folder / "000000010" / "manifest.json").unlink()
    assert Checkpoints(folder).newest(pytest.fail).update == 10


def test_copies_survive_donation():
    state = tree(1)
    flat = flatten(state)
    kept = {name: value.copy() for name, value in flat.items()}
    double = jax.jit(lambda x: x * 2, donate_argnums=0)
    double(state["weights"])
    assert all(np.array_equal(flat[name], kept[name]) for name in flat)


def test_another_layout_is_refused(folder):
    read = Checkpoints(folder).newest(pytest.fail)
    wrong = jax.eval_shape(lambda: {**tree(0), "weights": jnp.zeros((3, 5))})
    with pytest.raises(ValueError, match="weights is float32"):
        unflatten(wrong, read.state)
    with pytest.raises(ValueError, match="extra is missing"):
        unflatten(jax.eval_shape(lambda: {**tree(0), "extra": jnp.zeros(2)}), read.state)


def test_a_failed_write_is_raised(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.best_folder.rmdir()
    checkpoints.folder.rmdir()
    checkpoints.folder.write_text("in the way")
    checkpoints.save(1, flatten(tree(1)), {}, {})
    with pytest.raises(NotADirectoryError):
        checkpoints.wait()
