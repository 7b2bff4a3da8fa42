"""`predictd plan`: prices, rates, fleets, what is told, and the command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from commands import call_predictd
from predictd.cli import cli
from predictd.cli.plan_tables import core_time, duration, size, table
from predictd.config import TrainSettings
from predictd.constants import SHARDS
from predictd.errors import ConfigError, PredictdError
from predictd.workflows.planning import calibrate as calibration
from predictd.workflows.planning.calibrate import Effort, calibrate
from predictd.workflows.planning.places import (
    GIB,
    Fleet,
    candidates,
    cost,
    disk_bytes,
    fewest,
    job_seconds,
)
from predictd.workflows.planning.plan import Here, Plan, Wanted, make_plan
from predictd.workflows.planning.prices import Prices, load_prices
from predictd.workflows.planning.rates import Rates, load_rates, write_rates
from predictd.workflows.planning.shape import parse_shape
from predictd.workflows.planning.work import Job, Stage, Tasks, stages

ROADMAP = parse_shape("roadmap")
SMALL = parse_shape("cells=6,assays=4,observed=18,bins=20000")
HERE = Here(2, 16.0 * GIB, 1e15)
LITTLE = Effort(
    bins=4000, cells=4, assays=3, wide=64, fit_cells=24, fit_assays=8, rank=24, updates=2000, repeats=1
)


@pytest.fixture(scope="module")
def rates() -> Rates:
    return load_rates()


@pytest.fixture(scope="module")
def prices() -> Prices:
    return load_prices()


@pytest.fixture(scope="module")
def measured() -> Rates:
    return calibrate(LITTLE)


@pytest.fixture(scope="module")
def emr(rates: Rates, prices: Prices) -> Plan:
    return make_plan(ROADMAP, Job(), "emr", HERE, Wanted(within=3.0, compare=True), rates, prices)


# -- the two files ----------------------------------------------------------------------------------------------------


def packaged(name: str) -> str:
    return (Path(calibration.__file__).parents[2] / "data" / f"{name}.toml").read_text(encoding="utf-8")


def test_packaged_files_say_when_and_whence(rates, prices):
    assert rates.cpu and rates.date and prices.date and "check" in prices.source
    assert prices.emr.primary in prices.machines and len(prices.machines) >= 12


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("spot = 0.4", "spot = ", "cannot read prices in my.toml: Invalid value (at line"),
        ("spot = 0.4", "", "prices in my.toml: 'spot': field required"),
        ("spot = 0.4", "spot = 4", "prices in my.toml: 'spot': input should be less than or equal to 1"),
        ("surcharge =", "surplus =", "prices in my.toml: 'emr.surcharge': field required"),
        ("price = 9.6768", "", "prices in my.toml: 'machines.m7i.48xlarge.price': field required"),
        (
            "price = 9.6768",
            "price = -1",
            "'machines.m7i.48xlarge.price': input should be greater than or equal",
        ),
        ('primary = "m6i.xlarge"', 'primary = "huge"', 'there is no [machines."huge"]'),
    ],
)
def test_broken_prices(tmp_path, monkeypatch, before, after, message):
    monkeypatch.chdir(tmp_path)
    text = packaged("prices")
    assert text.count(before) == 1
    Path("my.toml").write_text(text.replace(before, after))
    with pytest.raises(ConfigError) as error:
        load_prices(Path("my.toml"))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_unknown_machine_and_missing_files(prices, tmp_path):
    with pytest.raises(
        ConfigError, match=r"no price of machine 'x9\.huge': there are m6i\.xlarge, .*--prices"
    ):
        prices.machine("x9.huge")
    for load in (load_prices, load_rates):
        with pytest.raises(ConfigError, match=r"cannot read .*No such file"):
            load(tmp_path / "none.toml")


def test_rates_come_back_from_their_file(rates, tmp_path):
    odd = rates.model_copy(update={"cpu": 'A "quoted" µ CPU \\ # 1', "read": 1.25e-9, "sweeps": 40.0})
    write_rates(tmp_path / "rates.toml", odd)
    assert load_rates(tmp_path / "rates.toml") == odd
    assert [path.name for path in tmp_path.iterdir()] == ["rates.toml"]
    (tmp_path / "rates.toml").write_text(packaged("rates").replace("read =", "reed ="))
    with pytest.raises(ConfigError, match="'read': field required"):
        load_rates(tmp_path / "rates.toml")


def test_calibration_measures(rates, measured):
    kernels = ("ingest", "read", "moments", "multiply", "sweep", "fit", "ranking", "compare", "bigwig")
    # Far from what any machine could have, there would be a unit wrong; not how fast this one is.
    for name in kernels:
        assert getattr(rates, name) / 1000 < getattr(measured, name) < getattr(rates, name) * 1000, name
    assert 0 < measured.efficiency <= 1 and 2e7 < measured.process_bytes < 2e9
    assert measured.predictd and measured.cpu and measured.sweeps == rates.sweeps


# -- costs ------------------------------------------------------------------------------------------------------------


def test_prices_add_up_by_hand(rates, prices):
    own = rates.model_copy(update={"start": 1e-9, "efficiency": 1.0})
    stage = Stage("s", "c", ((Tasks(16, 3600.0),),), memory=1e9, reads=0.0, writes=8e9)
    stored = {"tracks": 5e12, "tensor": 30e9, "imputed": 70e9}
    alone = Fleet("m6i.xlarge", prices.machine("m6i.xlarge"), 1, cluster=False)
    four = replace(alone, count=4, cluster=True)

    seconds = 8 * 3600.0 + 8e9 / (1.56e9 / 8)
    found = cost([stage], stored, alone, prices, own, spot=False)
    assert found.hours == pytest.approx(seconds / 3600)
    assert found.machines == pytest.approx(0.192 * found.hours)
    assert found.surcharge == 0
    assert found.disks == pytest.approx(18 * 0.08 * found.hours / 730)
    assert found.requests == pytest.approx(954 / 1000 * 0.005)
    assert found.keep_month == pytest.approx(100 * 0.023)
    assert found.download == pytest.approx(70 * 0.09)
    assert found.total == found.machines + found.surcharge + found.disks + found.requests

    on_demand, spot = (cost([stage], stored, four, prices, own, spot=spot) for spot in (False, True))
    hours = (2 * 3600.0 + 2e9 / (1.56e9 / 8)) / 3600 + 8 / 60
    assert on_demand.hours == spot.hours == pytest.approx(hours)
    assert on_demand.machines == pytest.approx(5 * 0.192 * hours)
    assert spot.machines == pytest.approx((4 * 0.192 * 0.4 + 0.192) * hours)
    assert spot.surcharge == on_demand.surcharge == pytest.approx(0.25 * 5 * 0.192 * hours)
    assert disk_bytes([stage], 4) == 12e9


def test_fewest_machines_end_in_time(rates, prices):
    work = stages(ROADMAP, rates, Job())
    fleet = fewest(work, "m6i.4xlarge", prices, rates, within=4.0)
    assert fleet is not None and fleet.count > 1
    fewer = replace(fleet, count=fleet.count - 1)
    assert job_seconds(work, fleet.site(prices), rates) <= 4 * 3600
    assert job_seconds(work, fewer.site(prices), rates) > 4 * 3600
    assert fewest(work, "m6i.4xlarge", prices, rates, within=0.01) is None


def test_what_does_not_fit_is_left_out(rates, prices):
    small = prices.machines["m6i.xlarge"].model_copy(update={"memory": 1.4})
    own = prices.model_copy(update={"machines": {"small": small, "big": prices.machines["m6i.4xlarge"]}})
    found = candidates(stages(ROADMAP, rates, Job()), own, rates, within=4.0)
    assert {fleet.name for fleet in found} == {"big"}
    assert sorted(fleet.cluster for fleet in found) == [False, True]


def test_comparison_is_by_price(emr, prices):
    totals = [offer.on_demand.total for offer in emr.offers]
    assert totals == sorted(totals) and len(totals) > len(prices.machines)
    for offer in emr.offers:
        assert offer.spot.total < offer.on_demand.total
        assert offer.cluster == (offer.count > 1)
        if offer.cluster:
            assert offer.seconds <= 3 * 3600
    assert emr.offer is not None and emr.offer.cluster
    clusters = [offer.on_demand.total for offer in emr.offers if offer.cluster]
    assert emr.offer.on_demand.total <= min(clusters)


def test_impossible_wishes(rates, prices):
    with pytest.raises(
        ConfigError, match=r"no cluster of m6i\.xlarge holds this job and ends within 0\.1 hours"
    ):
        make_plan(ROADMAP, Job(), "emr", HERE, Wanted(machine="m6i.xlarge", within=0.1), rates, prices)
    with pytest.raises(ConfigError, match="no price of machine 'abacus'"):
        make_plan(ROADMAP, Job(), "emr", HERE, Wanted(machine="abacus"), rates, prices)


# -- plans ------------------------------------------------------------------------------------------------------------


def test_totals_are_those_of_the_stages(rates, prices):
    plan = make_plan(SMALL, Job(), "local", HERE, Wanted(2), rates, prices)
    assert plan.seconds == pytest.approx(sum(stage.seconds for stage in plan.stages))
    told = plan.to_dict()
    assert told["core_seconds"] == pytest.approx(sum(stage["core_seconds"] for stage in told["stages"]))
    assert json.loads(json.dumps(told)) == told
    assert not plan.warnings


def test_a_job_that_does_not_fit_here_is_warned_of(rates, prices):
    tight = Here(8, 3.0 * GIB, 1e9)
    plan = make_plan(ROADMAP, Job(), "local", tight, Wanted(8), rates, prices)
    assert any(w.startswith("score: 8 workers take") and "--workers 2" in w for w in plan.warnings)
    assert any("1.0 GB are free" in warning for warning in plan.warnings)


def test_what_slurm_is_asked_for(rates, prices):
    job = Job(settings=TrainSettings(rank=100, regularisation=0.1), ingested=True)
    plan = make_plan(ROADMAP, job, "slurm", HERE, Wanted(2), rates, prices)
    assert [(one.script, one.array, one.cpus) for one in plan.submissions] == [
        ("cv-array.sbatch", 5, 2),
        ("impute-array.sbatch", 32, 1),
    ]
    work = {stage.name: stage for stage in stages(ROADMAP, rates, job)}
    for one, largest in zip(plan.submissions, (work["score"].memory, work["impute"].memory), strict=True):
        assert one.time_minutes % 15 == 0 and one.time_minutes * 60 >= 2 * one.seconds
        assert one.mem_per_cpu_mb % 256 == 0 and one.mem_per_cpu_mb * 2**20 >= 1.25 * largest
    cv, impute = plan.submissions
    # Parts share the models and the scores, and make the moments once each.
    alone = {name: work[name].core_seconds for name in ("moments", "models", "score")}
    assert cv.core_seconds == pytest.approx(5 * alone["moments"] + alone["models"] + alone["score"])
    assert impute.core_seconds == pytest.approx(work["impute"].core_seconds)


def test_the_paper_stands_beside(emr):
    ours = emr.paper["ours"]
    assert (emr.paper["train_hours"], emr.paper["train_cores"], emr.paper["cv_price"]) == (5.0, 64, 80.0)
    for kind, core_hours in (("train", 5 * 64), ("cv", 8 * 5 * 64)):
        assert 0 < ours[kind]["core_hours"] < core_hours and ours[kind]["machine"] in emr.prices.machines
    assert ours["cv"]["output_bytes"] < emr.paper["output_bytes"]
    # It does not change with the data that are asked about.
    small = make_plan(SMALL, Job(), "local", HERE, Wanted(), emr.rates, emr.prices)
    assert small.paper == emr.paper


# -- the command line -------------------------------------------------------------------------------------------------


def invoke(*arguments: object) -> str:
    done = CliRunner().invoke(cli, ["plan", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_units():
    assert [duration(s) for s in (0.04, 7.26, 89, 90, 5399, 5400, 86400, 200_000)] == [
        "0.0 s", "7.3 s", "89 s", "1.5 min", "90 min", "1.5 h", "24 h", "2.3 days",
    ]  # fmt: skip
    assert core_time(3600 * 4321) == "4,321 h"
    assert [size(n) for n in (12, 1500, 9.96e9, 3e15)] == ["12 B", "1.5 kB", "10 GB", "3.0 PB"]
    assert table([("a", "bb"), ("ccc", "d")]) == "a    bb\nccc   d"


def test_plan_as_text(tmp_path):
    text = invoke("--shape", "roadmap", "--on", "emr", "--within", 3, "--compare")
    for name in ("ingest", "moments", "choose", "models", "score", "impute", "total"):
        assert f"\n{name} " in text
    for told in ("This is an estimate", "One big machine or many small ones", "5 hours on 64 cores", "spot"):
        assert told in text
    assert "--cpus-per-task" in invoke("--shape", "roadmap", "--on", "slurm")


def test_plan_of_a_tensor_reads_its_manifest_alone(own_tensor, tmp_path):
    shutil.rmtree(own_tensor / SHARDS)
    done = call_predictd("plan", own_tensor, "--json", "-o", "plan.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == json.loads((tmp_path / "plan.json").read_text())
    assert told["shape"]["bins"] == 20_000 and told["stages"][0]["name"] == "moments"


def test_calibrate_and_use_the_rates(measured, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "calibrate", lambda: measured)
    monkeypatch.chdir(tmp_path)
    assert "use them with --rates rates.toml" in invoke("--calibrate", "-o", "rates.toml")
    kept = load_rates(Path("rates.toml"))
    assert kept.read == pytest.approx(measured.read, rel=1e-3) and kept.cpu == measured.cpu
    told = json.loads(invoke("--shape", "roadmap", "--rates", "rates.toml", "--json"))
    assert told["rates"] == kept.model_dump()
    assert "measured now" in invoke("--shape", "roadmap-1percent", "--calibrate")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give TENSOR or --shape"),
        (["t", "--shape", "roadmap"], "give either TENSOR or --shape"),
        (["--shape", "roadmap", "--calibrate", "--rates", "r"], "give either --calibrate or --rates"),
        (["--shape", "roadmap", "--machines", "3"], "--machine and --machines are for --on emr"),
        (["--shape", "roadmap", "--on", "emr", "--workers", "3"], "emr has one worker a core"),
    ],
)
def test_wrong_usage(arguments, message):
    done = CliRunner().invoke(cli, ["plan", *arguments])
    assert done.exit_code == 2 and message in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no directory; make one with 'predictd ingest'"),
        (["--shape", "roadmap", "--on", "emr", "--machine", "abacus"], "no price of machine 'abacus'"),
        (["--shape", "roadmap", "--prices", "none.toml"], "cannot read prices in none.toml"),
        (["--shape", "mouse"], "'mouse' is no preset"),
    ],
)
def test_errors(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["plan", *arguments])
    assert isinstance(done.exception, PredictdError) and message in str(done.exception)
    assert "\n" not in str(done.exception) and not any(tmp_path.iterdir())
