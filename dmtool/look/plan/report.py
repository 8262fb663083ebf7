"""The plan: figures as JSON holds them, and the same for reading."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from dmtool.config.training import Train
from dmtool.device import DTYPES
from dmtool.look.plan import forecast, memory
from dmtool.look.plan.count import Count, count, kept
from dmtool.look.plan.devices import SHARE, Devices
from dmtool.look.plan.forecast import FileSizes
from dmtool.look.plan.measure import Measured
from dmtool.look.plan.outline import Outline

Facts = dict[str, Any]

BUSY = 0.1
"""The share of waiting for the processor that is worth a line."""

ELSEWHERE = torch.device("meta")
"""A GPU that is not here."""


def counted(config: Train, outline: Outline, others: list[Devices]) -> Facts:
    """The plan of a training of which nothing is computed."""
    dtype = torch.bfloat16 if config.dtype == "auto" else DTYPES[config.dtype]
    total, saved = count(outline, config), kept(outline, ELSEWHERE, dtype)
    micro = config.batch_size // config.accumulation
    snapshot = len(config.ema.snapshots) * total.network // 2  # they are stored in float16
    sizes = FileSizes(total.checkpoint, artifact=total.network, snapshot=snapshot, preview=0)
    steps = -(-(config.limit.pictures or 0) // config.batch_size)
    used = {"micro_batch": micro, "device_estimate": total.memory(saved * micro)}
    return {
        **_facts(config, total, "meta", dtype),
        "memory": {**used, "host_for_saving": total.checkpoint},
        "disk": {**asdict(sizes), "run": forecast.disk(config, sizes, steps) if steps else None},
        "devices": [_elsewhere(config, total, saved, each) for each in others],
    }


def tried(config: Train, measured: Measured, others: list[Devices]) -> Facts:
    """The plan of a training that was tried on this machine."""
    total, costs = count(measured.outline, config), measured.costs
    saved = kept(measured.outline, ELSEWHERE, torch.bfloat16)
    decoding, rate = measured.loading.seconds, config.batch_size / costs.step
    steps = forecast.length(config, costs, decoding)
    seconds = forecast.whole(config, costs, decoding, steps)
    pictures = steps * config.batch_size
    return {
        **_facts(config, total, measured.device.type, measured.dtype),
        "pictures_per_second": rate,
        "flops_per_second": rate * total.flops,
        "waited": measured.waited,
        "seconds": {**asdict(costs), "decode": measured.loading.decode},
        "memory": _memory(measured, pictures),
        "disk": {**asdict(measured.sizes), "run": forecast.disk(config, measured.sizes, steps)},
        "run": {"pictures": pictures, "steps": steps, "seconds": seconds},
        "devices": [_elsewhere(config, total, saved, each) for each in others],
    }


def _facts(config: Train, total: Count, device: str, dtype: torch.dtype) -> Facts:
    return {
        "stage": config.stage,
        "run_name": config.run,
        "device": device,
        "dtype": str(dtype).removeprefix("torch."),
        "batch_size": config.batch_size,
        "limit": asdict(config.limit),
        "parameters": {"trainable": total.trainable, "frozen": total.frozen},
        "flops_per_picture": {"forward": total.forward, "backward": total.backward},
    }


def _memory(measured: Measured, pictures: int) -> Facts:
    """The peak when the training has ended, and the largest micro-batch: tried on a GPU, else
    estimated from what each picture keeps and what is free."""
    micro, largest = measured.micro, measured.largest
    if largest is None:
        each = kept(measured.outline, measured.device, measured.dtype)
        largest = memory.power_of_two(micro + measured.free / each)
    return {
        "micro_batch": micro,
        "host_peak": measured.peak.host + measured.loading.memory(pictures),
        "device_peak": measured.peak.device,
        "largest_micro_batch": largest,
        "largest_is": "estimated" if measured.largest is None else "tried",
    }


def _elsewhere(config: Train, total: Count, saved: int, devices: Devices) -> Facts:
    """What other devices would make of the steps alone; `saved` bytes are kept a picture."""
    rate = devices.pictures_per_second(total.flops)
    micro = config.batch_size // config.accumulation
    room = devices.device.memory - total.resident
    pictures, minutes = config.limit.pictures, config.limit.minutes
    seconds = [pictures / rate] if pictures else []
    seconds += [60 * minutes] if minutes else []
    return {
        "devices": f"{devices.count}x{devices.name}",
        "pictures_per_second": rate,
        "pictures": min(seconds) * rate,
        "seconds": min(seconds),
        "micro_batch": micro,
        "memory_needed": total.memory(saved * micro),
        "memory": devices.device.memory,
        "largest_micro_batch": memory.power_of_two(room / saved),
    }


def text(facts: Facts) -> str:
    """The plan for reading."""
    if facts["device"] == "meta":
        parts = [_network(facts), _estimated(facts)]
    else:
        parts = [_network(facts), _speed(facts), _here(facts), _whole(facts), *_busy(facts)]
    return "\n".join([*parts, "", *_table(facts)])


def _network(facts: Facts) -> str:
    parameters, flops = facts["parameters"], facts["flops_per_picture"]
    frozen = f", {parameters['frozen']:,} frozen (text encoder)" if parameters["frozen"] else ""
    total = flops["forward"] + flops["backward"]
    return (
        f"{facts['stage']}: {parameters['trainable']:,} parameters to train{frozen}\n"
        f"{total / 1e9:,.3f} GFLOP a picture: {flops['forward'] / 1e9:,.3f} forward, "
        f"{flops['backward'] / 1e9:,.3f} backward"
    )


def _speed(facts: Facts) -> str:
    seconds = facts["seconds"]
    return (
        f"measured here ({facts['device']}, {facts['dtype']}): "
        f"{facts['pictures_per_second']:,.1f} pictures/s, "
        f"{facts['flops_per_second'] / 1e12:.3f} TFLOP/s; seconds: step of {facts['batch_size']} "
        f"pictures {seconds['step']:.3f}, held-out figures {seconds['validate']:.2f}, preview "
        f"{seconds['preview']:.2f}, snapshot {seconds['snapshot']:.2f}, save {seconds['save']:.2f}"
    )


def _here(facts: Facts) -> str:
    used = facts["memory"]
    gpu = f"{_gb(used['device_peak'])} of the GPU and " if used["device_peak"] else ""
    how = {
        "tried": "tried on this GPU",
        "estimated": "an estimate from what a picture keeps for the backward pass and what is free",
    }[used["largest_is"]]
    return (
        f"memory at most: {gpu}{_gb(used['host_peak'])} of the machine, in micro-batches of "
        f"{used['micro_batch']:,}; the largest that fits: {used['largest_micro_batch']:,} ({how})"
    )


def _whole(facts: Facts) -> str:
    run = facts["run"]
    return (
        f"{_disk(facts['disk'])}\n"
        f"the whole run: {run['pictures']:,} pictures in {_time(run['seconds'])}, with held-out "
        "figures, previews and saves"
    )


def _disk(disk: Facts) -> str:
    line = f"disk: {_gb(disk['checkpoint'])} a checkpoint, {_gb(disk['artifact'])} an artifact"
    if disk["run"] is None:
        return line
    written = ", ".join(f"{name} {_gb(size)}" for name, size in disk["run"].items() if size)
    return f"{line}; after the whole run: {written}"


def _busy(facts: Facts) -> list[str]:
    if facts["waited"] < BUSY:
        return []
    quiet = facts["pictures_per_second"] / (1 - min(facts["waited"], 0.99))
    return [
        f"this machine is busy: other programs had the processor for {facts['waited']:.0%} of the "
        f"steps' time, and the forecast is for a machine as busy; on a quiet one about "
        f"{quiet:,.0f} pictures/s"
    ]


def _estimated(facts: Facts) -> str:
    used = facts["memory"]
    return (
        "device=meta: nothing was computed, all below are estimates\n"
        f"memory: {_gb(used['device_estimate'])} of a GPU in {facts['dtype']}, in micro-batches of "
        f"{used['micro_batch']:,}, and {_gb(used['host_for_saving'])} of the machine for saving\n"
        f"{_disk(facts['disk'])}"
    )


def _table(facts: Facts) -> list[str]:
    head = (
        f"on other devices, an estimate: {SHARE:.0%} of the stated peak (small networks reach "
        "less), steps alone, nothing lost between devices"
    )
    return [head, *map(_row, facts["devices"])]


def _row(each: Facts) -> str:
    needed, there, most = each["memory_needed"], each["memory"], each["largest_micro_batch"]
    fits = f"needs {_gb(needed)} of {_gb(there)} each at micro-batch {each['micro_batch']:,}"
    if needed > there:
        most = f"at most {most:,} fits" if most else "not even one picture fits"
        fits = f"{fits}: {most}"
    return (
        f"  {each['devices']:<12} {each['pictures_per_second']:>12,.1f} pictures/s  "
        f"{each['pictures']:>14,.0f} pictures in {_time(each['seconds']):<12} {fits}"
    )


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.2f} MB"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 7200 else f"{seconds / 3600:,.1f} hours"
