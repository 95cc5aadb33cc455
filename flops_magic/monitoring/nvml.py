"""NVIDIA devices while a run lasts: energy, utilisation, memory, through NVML.

Silent by design: where there is no device, no driver or no permission, the record says
so by name and the run goes on. Nothing here touches CUDA.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from flops_magic.evidence.hardware import Device, EnergySource, Hardware


@dataclass
class _Polled:
    """One device and its running integrals; no list of samples is kept."""

    handle: Any
    name: str
    uuid: str
    energy_start_mj: int | None = None
    power_j: float = 0.0
    busy_s: float = 0.0
    seen_s: float = 0.0
    longest_gap_s: float = 0.0
    samples: int = 0
    memory_peak_bytes: int = 0
    last: dict[str, float] = field(default_factory=dict)


class NvmlPoller:
    """Polls the visible devices in a thread between ``start`` and ``stop``.

    Args:
        interval_s: seconds between samples.
        clock: seconds that never go back.
        load: returns the NVML module; NVIDIA's ``pynvml`` by default.
    """

    def __init__(
        self,
        *,
        interval_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        load: Callable[[], Any] | None = None,
    ) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._load = load or _pynvml
        self._nvml: Any = None
        self._devices: list[_Polled] = []
        self._reason = "no NVIDIA device"
        self._gaps: list[str] = []
        self._unmeasured: list[str] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Find the devices and begin; never raises."""
        try:
            self._nvml = self._load()
            self._nvml.nvmlInit()
        except Exception as error:  # noqa: BLE001 a sensor may not stop training
            self._nvml = None
            self._reason = f"no NVIDIA device ({_first_line(error)})"
            return
        self._devices = self._visible()
        for device in self._devices:
            device.energy_start_mj = self._energy_mj(device)
        if self._devices:
            self._thread = threading.Thread(target=self._poll, daemon=True)
            self._thread.start()

    def stop(self) -> Hardware:
        """End, and return what the devices did."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        devices = tuple(self._summary(device) for device in self._devices)
        if self._nvml is not None and (
            self._thread is None or not self._thread.is_alive()
        ):
            self._ask("nvmlShutdown")
        return Hardware(
            devices,
            reason=None if devices else self._reason,
            gaps=tuple(self._gaps),
            unmeasured=tuple(self._unmeasured),
        )

    def _visible(self) -> list[_Polled]:
        """Return the devices that CUDA_VISIBLE_DEVICES leaves, by UUID."""
        count = self._ask("nvmlDeviceGetCount") or 0
        found = []
        for index in range(count):
            handle = self._ask("nvmlDeviceGetHandleByIndex", index)
            if handle is not None:
                name = _text(self._ask("nvmlDeviceGetName", handle))
                uuid = _text(self._ask("nvmlDeviceGetUUID", handle))
                found.append(_Polled(handle, name, uuid))
        wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
        if wanted is None:
            return found
        chosen = []
        for item in filter(None, (part.strip() for part in wanted.split(","))):
            if item.isdigit():
                chosen += found[int(item) : int(item) + 1]
            elif item.startswith("MIG-"):
                gap = f"CUDA_VISIBLE_DEVICES: {item[:12]}… is a slice, not measured"
                self._note(gap)
                self._unmeasured.append(gap)
            else:
                chosen += [d for d in found if item != "-1" and d.uuid.startswith(item)]
        if not chosen:
            self._reason = "no NVIDIA device is visible (CUDA_VISIBLE_DEVICES)"
        return chosen

    def _poll(self) -> None:
        while not self._stop.is_set():
            try:
                for device in self._devices:
                    self._sample(device)
            except Exception as error:  # noqa: BLE001 a sensor may not stop training
                self._note(f"polling ended: {_first_line(error)}")
                return
            self._stop.wait(self._interval_s)

    def _sample(self, device: _Polled) -> None:
        """Add one sample to the integrals, by trapezoids over real time stamps."""
        rates = self._ask("nvmlDeviceGetUtilizationRates", device.handle)
        power = self._ask("nvmlDeviceGetPowerUsage", device.handle)
        memory = self._ask("nvmlDeviceGetMemoryInfo", device.handle)
        now = {"t": self._clock()}
        if rates is not None:
            now["busy"] = rates.gpu / 100
        if power is not None:
            now["w"] = power / 1000
        if memory is not None:
            device.memory_peak_bytes = max(device.memory_peak_bytes, int(memory.used))
        before = device.last
        if before:
            step_s = now["t"] - before["t"]
            device.longest_gap_s = max(device.longest_gap_s, step_s)
            if "busy" in now and "busy" in before:
                device.busy_s += (now["busy"] + before["busy"]) / 2 * step_s
                device.seen_s += step_s
            if "w" in now and "w" in before:
                device.power_j += (now["w"] + before["w"]) / 2 * step_s
        device.samples += 1
        device.last = now

    def _summary(self, device: _Polled) -> Device:
        """Return what a device did, and the better of two ways to its energy."""
        busy_share = energy_j = None
        energy_by: EnergySource | None = None
        if device.seen_s:
            busy_share = Decimal(f"{device.busy_s / device.seen_s:.4f}")
        end_mj = self._energy_mj(device)
        if end_mj is not None and device.energy_start_mj is not None:
            energy_j = Decimal(end_mj - device.energy_start_mj).scaleb(-3)
            energy_by = "energy counter"
        elif device.power_j:
            energy_j = Decimal(f"{device.power_j:.3f}")
            energy_by = "power samples"
        return Device(
            name=device.name,
            uuid=device.uuid,
            samples=device.samples,
            longest_gap_s=Decimal(f"{device.longest_gap_s:.3f}"),
            memory_peak_bytes=device.memory_peak_bytes,
            busy_share=busy_share,
            energy_j=energy_j,
            energy_by=energy_by,
        )

    def _energy_mj(self, device: _Polled) -> int | None:
        value = self._ask("nvmlDeviceGetTotalEnergyConsumption", device.handle)
        return None if value is None else int(value)

    def _ask(self, query: str, *args: Any) -> Any:
        """Return one answer; None, and a gap by name, where it fails."""
        try:
            return getattr(self._nvml, query)(*args)
        except Exception as error:  # noqa: BLE001 a sensor may not stop training
            self._note(f"{query}: {_first_line(error)}")
            return None

    def _note(self, gap: str) -> None:
        if gap not in self._gaps and len(self._gaps) < 50:
            self._gaps.append(gap)


def _pynvml() -> Any:
    """Return NVIDIA's module, and refuse another package of the same name."""
    import pynvml

    # Private in nvidia-ml-py, tried with 13.615: the name tells NVIDIA's module from
    # others called pynvml. If NVIDIA renames it, the record names this message as the
    # reason why no device was measured.
    if not hasattr(pynvml, "_nvmlGetFunctionPointer"):
        raise ImportError("another package is named pynvml; install nvidia-ml-py")
    return pynvml


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if value is not None else "unknown"
