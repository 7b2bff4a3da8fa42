"""A plan as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from predictd.workflows.planning.plan import Offer, Plan

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
# A comparison longer than this is cut.
_MOST_ROWS = 30


def duration(seconds: float) -> str:
    """Two digits of the unit that fits."""
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{_two_digits(seconds / unit)} {name}"
    return f"{_two_digits(seconds / 86400)} days"


def core_time(seconds: float) -> str:
    """The same, but in hours where there are days: they are shared by many cores."""
    return duration(seconds) if seconds < 48 * 3600 else f"{seconds / 3600:,.0f} h"


def size(n_bytes: float) -> str:
    """Two digits of the decimal unit that fits."""
    for unit in _UNITS[:-1]:
        if n_bytes < 999.5:
            return f"{_two_digits(n_bytes)} {unit}"
        n_bytes /= 1000
    return f"{_two_digits(n_bytes)} {_UNITS[-1]}"


def money(value: float, currency: str) -> str:
    return f"{value:,.2f} {currency}" if value < 99.5 else f"{value:,.0f} {currency}"


def plan_text(plan: Plan, rates_from: str) -> str:
    """The whole answer."""
    parts = [_heading(plan), _stages(plan), _needs(plan)]
    if plan.submissions:
        parts.append(_submissions(plan))
    if plan.offer is not None:
        parts.append(_offer(plan, plan.offer))
    if plan.offers:
        parts.append(_comparison(plan))
    parts += [_paper(plan), _honesty(plan, rates_from)]
    return "\n\n".join(parts)


def _heading(plan: Plan) -> str:
    shape, job = plan.shape, plan.job
    penalty = job.settings.regularisation
    models = f"{job.models} models and their scores" if job.kind == "cv" else "one model"
    searched = job.settings.rank == "auto" and job.settings.solver != "sgd"
    chosen = " (assumed; validation will choose)" if searched else ""
    return (
        f"{shape.cells} cell types × {shape.assays} assays, {shape.observed:,} experiments, {shape.bins:,} bins in "
        f"{shape.shards:,} shards\n"
        f"{models}, solver {job.settings.solver}, rank {plan.rank}{chosen}"
        f"{'' if penalty == 'auto' else f', lambda {penalty:g}'}; {plan.targets:,} pairs imputed"
    )


def _stages(plan: Plan) -> str:
    where = {
        "local": "with so many workers on this machine",
        "slurm": "with so many workers on one node",
        "emr": f"on {plan.offer.fleet}" if plan.offer else "",
    }[plan.on]
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
    return f"Time {where}:\n{table(rows)}"


def _needs(plan: Plan) -> str:
    kept = ", ".join(f"{what} {size(n_bytes)}" for what, n_bytes in plan.storage.items())
    lines = [f"Memory at most {plan.memory_bytes / 2**30:.1f} GiB a machine. Storage: {kept}."]
    return "\n".join([*lines, *(f"WARNING: {warning}" for warning in plan.warnings)])


def _submissions(plan: Plan) -> str:
    rows = [("script", "array", "task takes", "all, one core", "ask for")]
    rows += [
        (
            one.script,
            f"0-{one.array - 1}" if one.array > 1 else "-",
            duration(one.seconds),
            core_time(one.core_seconds),
            f"--cpus-per-task={one.cpus} --mem-per-cpu={one.mem_per_cpu_mb}M "
            f"--time={one.time_minutes // 60:02d}:{one.time_minutes % 60:02d}:00",
        )
        for one in plan.submissions
    ]
    return (
        f"Slurm (slurm/README.md); what to ask for is twice the time and 1.25 times the memory:\n{table(rows)}\n"
        "A part of cv makes the moments itself where they do not stand yet. Waiting in the queue is not counted."
    )


def _offer(plan: Plan, offer: Offer) -> str:
    currency = plan.prices.currency
    rows: list[tuple[str, ...]] = [("", "on demand", "spot")]
    for name, what in (
        ("machines", "machines"),
        ("surcharge", "EMR surcharge"),
        ("disks", "their disks"),
        ("requests", "requests to the object store"),
        ("total", "total"),
        ("keep_month", "keeping the output, a month"),
        ("download", "downloading the imputed tracks"),
    ):
        rows.append((what, *(money(getattr(c, name), currency) for c in (offer.on_demand, offer.spot))))
    return (
        f"Price of {offer.fleet} and one {plan.prices.emr.primary} for {offer.on_demand.hours:.1f} hours "
        f"({offer.workers * offer.count} workers at least, disks of {size(offer.disk_bytes)}):\n{table(rows)}\n"
        "Spot machines may be taken away at any time; tasks that were lost run again, at a cost that is not counted."
    )


def _comparison(plan: Plan) -> str:
    currency = plan.prices.currency
    rows = [("machines", "workers", "time", "on demand", "spot")]
    rows += [
        (
            offer.fleet,
            str(offer.workers * offer.count),
            duration(offer.seconds),
            money(offer.on_demand.total, currency),
            money(offer.spot.total, currency),
        )
        for offer in plan.offers[:_MOST_ROWS]
    ]
    left = len(plan.offers) - _MOST_ROWS
    return (
        "One big machine or many small ones: each kind alone, and the smallest EMR cluster of it that ends in time, by "
        f"price:\n{table(rows)}" + (f"\n… and {left} dearer ones" if left > 0 else "")
    )


def _paper(plan: Plan) -> str:
    paper, ours, currency = plan.paper, plan.paper["ours"], plan.prices.currency

    def told(kind: str) -> str:
        own = ours[kind]
        price = f", {money(own['price'], currency)} on one {own['machine']}" if own["machine"] else ""
        return f"{own['core_hours']:.2g} core hours{price}"

    return (
        f"The original PREDICTD, as it was reported for {paper['shape']} (not scaled to your data):\n"
        f"  training  {paper['train_hours']:g} hours on {paper['train_cores']} cores, about "
        f"${paper['train_price']:g}; predictd for the same data, ingest and imputing included: {told('train')}\n"
        f"  cross-validation  ${paper['cv_price']:g} and {paper['cv_days'][0]}–{paper['cv_days'][1]} days; predictd: "
        f"{told('cv')}\n"
        f"  {size(paper['output_bytes'])} of output and {size(paper['memory_bytes'])} of memory; predictd: "
        f"{size(ours['cv']['output_bytes'])} and {ours['cv']['worker_bytes'] / 2**30:.1f} GiB a worker"
    )


def _honesty(plan: Plan, rates_from: str) -> str:
    rates, prices = plan.rates, plan.prices
    lines = [
        f"This is an estimate. Rates: {rates_from}, {rates.cpu}, {rates.date}. Expect to be off by a factor of two, "
        "and more on other processors and slow file systems (--calibrate measures this machine)."
    ]
    if plan.offer or plan.offers:
        lines.append(f"Prices: {prices.region}, {prices.date}; {prices.source} (--prices names your own).")
    return "\n".join(lines)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, the first to the left; the last, too, where it is text."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    )


def _two_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"
