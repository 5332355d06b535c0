"""Whether published sizes fit, from their shapes alone."""

import dataclasses

import pytest

from aajax.lm import dry_run, shapes

SEVEN = "qwen2.5-7b"


def test_seven_billion_parameters_are_counted():
    config = shapes.find_shape(SEVEN)
    job = dry_run.Job(batch=8, length=1024)
    found = dry_run.estimate(config, job)
    assert found.num_params == pytest.approx(7.616e9, rel=1e-3)
    assert found.params.each == 2 * found.num_params


def test_a_mesh_divides_what_it_splits():
    config = shapes.find_shape(SEVEN)
    job = dry_run.Job(batch=8, length=1024)
    one = dry_run.estimate(config, job)
    eight = dry_run.estimate(config, job, fsdp=8)
    assert eight.params.each == pytest.approx(one.params.each / 8, rel=0.01)
    assert dry_run.fits(one.training, 141)
    assert not dry_run.fits(one.training, 16)
    assert dry_run.fits(eight.training, 16)


def test_recomputation_saves_memory():
    config = shapes.find_shape(SEVEN)
    job = dry_run.Job(batch=8, length=1024)
    plain = dataclasses.replace(job, remat=False)
    less = dry_run.estimate(config, job, fsdp=8)
    more = dry_run.estimate(config, plain, fsdp=8)
    assert less.training < more.training


def test_bad_jobs_are_named():
    with pytest.raises(ValueError, match="rank is 0"):
        dry_run.Job(rank=0)
    with pytest.raises(ValueError, match="num_microbatches is 3"):
        dry_run.Job(batch=8, num_microbatches=3)
