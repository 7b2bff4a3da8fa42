"""A plan as tables for the terminal."""

from __future__ import annotations

from predictd.wording import aligned, duration, two_digits
from predictd.workflows.planning.plan import Plan

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def core_time(seconds: float) -> str:
    """The same, but in hours where there are days: they are shared by many cores."""
    return duration(seconds) if seconds < 48 * 3600 else f"{seconds / 3600:,.0f} h"


def size(n_bytes: float) -> str:
    """Two digits of the decimal unit that fits."""
    for unit in _UNITS[:-1]:
        if n_bytes < 999.5:
            return f"{two_digits(n_bytes)} {unit}"
        n_bytes /= 1000
    return f"{two_digits(n_bytes)} {_UNITS[-1]}"


def money(value: float, currency: str) -> str:
    """Write a price: with two digits below 99.5, else as a whole number."""
    return f"{value:,.2f} {currency}" if value < 99.5 else f"{value:,.0f} {currency}"


def plan_text(plan: Plan, *, compare: bool = False) -> str:
    """The whole answer; with `compare` all clusters, not only the cheapest."""
    parts = [_heading(plan), _stages(plan), _needs(plan)]
    if plan.submissions:
        parts.append(_submissions(plan))
    if plan.offers:
        parts.append(_offer(plan))
        if compare:
            parts.append(_comparison(plan))
    return "\n\n".join([*parts, _honesty(plan)])


def _heading(plan: Plan) -> str:
    shape, job = plan.shape, plan.job
    models = f"{plan.models} models and their scores" if job.kind == "cv" else "one model"
    searched = any(stage.name == "choose" for stage in plan.stages) and job.settings.rank == "auto"
    return (
        f"{shape.cells} cell types × {shape.assays} assays, {shape.observed:,} experiments, {shape.bins:,} bins in "
        f"{shape.shards:,} shards\n{models}, solver {plan.solver}, rank {plan.rank}"
        f"{' (assumed; validation will choose)' if searched else ''}; {job.targets:,} pairs imputed"
    )


def _stages(plan: Plan) -> str:
    where = {"local": "on this machine", "slurm": "on one node"}.get(plan.on, f"on {_cluster(plan)}")
    rows = [("stage", "tasks", "one core", "workers", "time", "memory a worker")]
    rows += [
        (
            stage.name,
            f"{stage.tasks:,}",
            core_time(stage.core_seconds),
            str(stage.workers),
            duration(stage.seconds),
            f"{stage.worker_bytes / 2**30:.1f} GiB",
        )
        for stage in plan.stages
    ]
    rows.append(("total", "", core_time(plan.core_seconds), "", duration(plan.seconds), ""))
    return f"Time {where}:\n{aligned(rows)}"


def _needs(plan: Plan) -> str:
    kept = ", ".join(f"{what} {size(n_bytes)}" for what, n_bytes in plan.storage_bytes.items())
    lines = [f"Memory at most {plan.memory_bytes / 2**30:.1f} GiB a machine. Storage: {kept}."]
    return "\n".join([*lines, *(f"WARNING: {warning}" for warning in plan.warnings)])


def _submissions(plan: Plan) -> str:
    rows = [("script", "array", "task takes", "ask for")]
    rows += [
        (
            one.script,
            f"0-{one.array - 1}" if one.array > 1 else "-",
            duration(one.seconds),
            f"--cpus-per-task={one.cpus} --mem-per-cpu={one.mem_per_cpu_mb}M "
            f"--time={one.time_minutes // 60:02d}:{one.time_minutes % 60:02d}:00",
        )
        for one in plan.submissions
    ]
    return (
        f"Slurm (slurm/README.md); what to ask for is twice the time and 1.25 times the memory:\n{aligned(rows)}\n"
        "A part of cv makes the moments itself where they do not exist yet. Waiting in the queue is not counted."
    )


def _cluster(plan: Plan) -> str:
    return f"{plan.offers[0].count} × {plan.offers[0].machine}" if plan.offers else ""


def _offer(plan: Plan) -> str:
    offer, currency = plan.offers[0], plan.prices.currency
    return (
        f"Price of {_cluster(plan)} ({offer.workers} workers, disks of {size(offer.disk_bytes)}) and one "
        f"{plan.prices.emr.primary} for {offer.hours:.1f} hours: {money(offer.on_demand, currency)} on demand, "
        f"{money(offer.spot, currency)} with spot machines.\nKeeping the output: {money(offer.keep_month, currency)} a "
        f"month. Downloading the imputed tracks: {money(offer.download, currency)}."
    )


def _comparison(plan: Plan) -> str:
    currency = plan.prices.currency
    rows = [("machines", "workers", "hours", "on demand", "spot")]
    rows += [
        (
            f"{offer.count} × {offer.machine}",
            str(offer.workers),
            f"{offer.hours:.1f}",
            money(offer.on_demand, currency),
            money(offer.spot, currency),
        )
        for offer in plan.offers
    ]
    return f"By price, a cluster of each kind of machine:\n{aligned(rows)}"


def _honesty(plan: Plan) -> str:
    lines = [
        f"This is an estimate. Rates: {plan.rates.source}. Expect to be off by a third, and by a factor of two or "
        "more with other solvers than the default, other processors and slow file systems (--rates takes a past run, "
        "--calibrate measures this machine)."
    ]
    if plan.offers:
        prices = plan.prices
        lines.append(f"Prices: {prices.region}, {prices.date}; {prices.source} (--prices names your own).")
    return "\n".join(lines)
