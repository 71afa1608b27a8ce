"""The timeline picture: faults, load by outcome, latency, leader and members on one time axis."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from harness.report.plain import plain
from harness.report.series import FaultWindow, Request, Span, Timeline
from harness.report.svg import RC, inline_svg
from harness.report.theme import HATCHES, colour
from harness.report.words import duration

WIDTH = 8.4  # inches; the page scales it to its own width
_LEFT, _RIGHT = 0.72, 0.12
_TOP, _BOTTOM = 0.06, 0.42
_LANE, _ROW = 0.20, 0.20
_HEAD = 0.27  # above each panel, for its title and legend
_LOAD, _LATENCY = 1.35, 1.15
_SMALL, _BODY = 7.0, 7.6
_CHARACTER = 0.0605  # inches, of _SMALL text on average
_MOST_DOTS = 6000


def timeline_svg(timeline: Timeline, *, name: str, label: str, described_by: str) -> str:
    """Draw a timeline as an inline ``<svg>``; the same timeline gives the same bytes."""
    with mpl.rc_context(RC):
        return inline_svg(_draw(timeline), name=name, label=label, described_by=described_by)


def _draw(timeline: Timeline) -> Figure:
    lanes = len(timeline.faults)
    rows = len(timeline.members) + bool(timeline.leaders)
    heights: list[tuple[str, float]] = []
    if lanes:
        heights.append(("faults", lanes * _LANE))
    if timeline.requests:
        heights += [("load", _LOAD), ("latency", _LATENCY)]
    if rows:
        heights.append(("members", rows * _ROW))
    total = _TOP + _BOTTOM + sum(_HEAD + h for _, h in heights)
    figure = Figure(figsize=(WIDTH, total), dpi=72)
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    top = total - _TOP
    panel: Axes | None = None
    for kind, height in heights:
        top -= _HEAD + height
        panel = figure.add_axes(
            (_LEFT / WIDTH, top / total, (WIDTH - _LEFT - _RIGHT) / WIDTH, height / total)
        )
        _dress(panel, timeline)
        match kind:
            case "faults":
                _faults(panel, timeline)
            case "load":
                _load(panel, timeline)
            case "latency":
                _latency(panel, timeline)
            case _:
                _members(panel, timeline)
    if panel is not None:
        panel.tick_params(axis="x", labelbottom=True, length=3, width=0.6)
        panel.set_xlabel(
            "seconds since the trial began", color=colour("muted"), fontsize=_SMALL, labelpad=3
        )
    return figure


def _dress(panel: Axes, timeline: Timeline) -> None:
    panel.patch.set_visible(False)
    panel.set_xlim(timeline.start, timeline.end)
    panel.set_axisbelow(True)
    for side, spine in panel.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(colour("muted"))
        spine.set_linewidth(0.6)
    panel.tick_params(
        colors=colour("muted"), labelsize=_SMALL, length=0, labelbottom=False, pad=3, width=0.6
    )
    panel.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10]))
    panel.grid(axis="x", color=colour("grid"), linewidth=0.5)
    for fault in timeline.faults:
        panel.axvspan(
            fault.start, fault.end, facecolor=colour("fault"), alpha=0.16, linewidth=0, zorder=0.5
        )
        edges = (fault.start, fault.end) if fault.healed else (fault.start,)
        for edge in edges:
            panel.axvline(edge, color=colour("fault"), linewidth=0.8, zorder=0.6)


def _title(panel: Axes, text: str, note: str = "") -> None:
    panel.annotate(
        text, (0, 1), (-_LEFT * 72 + 2, 6.5), xycoords="axes fraction",
        textcoords="offset points", fontsize=_BODY, fontweight="bold", color=colour("ink"),
        parse_math=False, annotation_clip=False,
    )  # fmt: skip
    if note:
        panel.annotate(
            note, (0, 1), (-_LEFT * 72 + 8 + 72 * 0.074 * len(text), 6.5),
            xycoords="axes fraction", textcoords="offset points", fontsize=_SMALL,
            color=colour("muted"), parse_math=False, annotation_clip=False,
        )  # fmt: skip


def _faults(panel: Axes, timeline: Timeline) -> None:
    _title(panel, "Faults")
    panel.set_yticks([])
    panel.set_ylim(len(timeline.faults), 0)
    panel.spines["bottom"].set_visible(False)
    for lane, fault in enumerate(timeline.faults):
        panel.broken_barh(
            [(fault.start, fault.end - fault.start)], (lane + 0.12, 0.76),
            facecolor=colour("fault"), linewidth=0,
        )  # fmt: skip
        _beside_or_inside(panel, timeline, fault, lane + 0.5)


def _beside_or_inside(panel: Axes, timeline: Timeline, fault: FaultWindow, y: float) -> None:
    words = f"{plain(fault.label, 70)}, {duration(fault.end - fault.start)}"
    words += "" if fault.healed else ", not healed"
    needed = len(words) * _CHARACTER + 0.1
    start = max(fault.start, timeline.start)
    if _inches(timeline, start, fault.end) >= needed:
        at, side, ink = start, "left", "fault-ink"
    elif _inches(timeline, fault.end, timeline.end) >= needed:
        at, side, ink = fault.end, "left", "ink"
    else:
        at, side, ink = start, "right", "ink"
    panel.annotate(
        words, (at, y), (4 if side == "left" else -4, 0), textcoords="offset points",
        va="center", ha=side, fontsize=_SMALL, color=colour(ink), parse_math=False,
        annotation_clip=False,
    )  # fmt: skip


def _load(panel: Axes, timeline: Timeline) -> None:
    each = "" if timeline.width == 1 else f"by {timeline.width:g} s"
    _title(panel, "Requests per second", each)
    starts = [b.start for b in timeline.bins]
    floor = [0.0] * len(starts)
    for outcome in timeline.outcomes:
        rates = [b.counts.get(outcome, 0) / timeline.width for b in timeline.bins]
        shown = [n for n, rate in enumerate(rates) if rate]
        panel.bar(
            [starts[n] for n in shown], [rates[n] for n in shown], timeline.width * 0.92,
            [floor[n] for n in shown], align="edge", facecolor=colour(outcome),
            edgecolor=colour("paper"), hatch=HATCHES[outcome], linewidth=0,
            label=f"{outcome} {timeline.counts[outcome]:,}",
        )  # fmt: skip
        floor = [low + rate for low, rate in zip(floor, rates, strict=True)]
    panel.set_ylim(0, max(floor) * 1.06)
    panel.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    panel.grid(axis="y", color=colour("grid"), linewidth=0.5)
    _legend(panel, len(timeline.outcomes))


def _latency(panel: Axes, timeline: Timeline) -> None:
    every = -(-len(timeline.requests) // _MOST_DOTS)
    _title(panel, "Latency", f"every {every}th request" if every > 1 else "each dot a request")
    panel.set_yscale("log")
    for outcome in timeline.outcomes:
        chosen = [r for r in timeline.requests if r.outcome == outcome]
        # What went well may be thinned; what went wrong is always shown.
        _dots(panel, chosen[::every] if outcome == "ok" else chosen, outcome)
    for name, style in (("p50", "-"), ("p99", (0, (4, 1.5)))):
        values = [(b.p50 if name == "p50" else b.p99) or float("nan") for b in timeline.bins]
        panel.step(
            [b.start for b in timeline.bins] + [timeline.bins[-1].start + timeline.width],
            [*values, values[-1]], where="post", color=colour(name), linewidth=1.3,
            linestyle=style, label=f"{name} of ok", zorder=3,
        )  # fmt: skip
    took = [max(r.took, 1e-5) for r in timeline.requests]
    panel.set_ylim(min(took) / 1.5, max(took) * 1.5)
    panel.yaxis.set_major_locator(LogLocator(numticks=6))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: duration(y)))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.grid(axis="y", color=colour("grid"), linewidth=0.5)
    _legend(panel, 2)


def _dots(panel: Axes, requests: Sequence[Request], outcome: str) -> None:
    # All dots of one colour are one path of lines without length: round caps make them dots,
    # at a tenth of the size of one marker element each.
    xs: list[float] = []
    ys: list[float] = []
    for request in requests:
        xs += [request.t, request.t, float("nan")]
        ys += [max(request.took, 1e-5), max(request.took, 1e-5), float("nan")]
    panel.plot(
        xs, ys, color=colour("ok-dot" if outcome == "ok" else outcome),
        linewidth=1.5 if outcome == "ok" else 2.6,
        solid_capstyle="round", alpha=0.7 if outcome == "ok" else 0.95,
        zorder=2 if outcome == "ok" else 2.5, label="_dots",
    )  # fmt: skip


def _members(panel: Axes, timeline: Timeline) -> None:
    note = "as the swarm saw them" if timeline.watched else "members' states were not watched"
    _title(panel, "Leader and members", note)
    names: list[str] = []
    if timeline.leaders:
        names.append("leader")
        for number, span in enumerate(timeline.leaders):
            _leader(panel, timeline, span, light=number % 2 == 1)
    for name, states in timeline.members.items():
        _member(panel, timeline, states, y=len(names))
        for span in timeline.leaders:
            if span.label == name and not span.under_fault:
                panel.broken_barh(
                    [(span.start, span.seconds)], (len(names) + 0.26, 0.48),
                    facecolor=colour("leader"), linewidth=0, zorder=3,
                )  # fmt: skip
        names.append(name)
    panel.set_ylim(len(names), 0)
    panel.set_yticks(
        [n + 0.5 for n in range(len(names))],
        [plain(n, 12) for n in names],
        parse_math=False,
    )
    for label in panel.get_yticklabels():
        label.set_color(colour("ink"))


def _leader(panel: Axes, timeline: Timeline, span: Span, *, light: bool) -> None:
    nobody = not span.label or span.under_fault
    panel.broken_barh(
        [(span.start, span.seconds)], (0.1, 0.8),
        facecolor=colour("paper" if nobody else "leader"), alpha=0.8 if light and not nobody else 1,
        edgecolor=colour("no-leader" if nobody else "paper"), linewidth=0.8,
        hatch="/////" if nobody else None,
    )  # fmt: skip
    words = f"{span.label or 'none'}, {duration(span.seconds)}" if nobody else span.label
    if span.under_fault:
        words = f"{span.label} under fault, {duration(span.seconds)}"
    room = _inches(timeline, span.start, span.end)
    if room < len(words) * _CHARACTER + 0.12:
        return
    start = max(span.start, timeline.start)
    box = {"facecolor": colour("paper"), "edgecolor": "none", "pad": 1.2} if nobody else None
    panel.text(
        (start + span.end) / 2, 0.5, words, va="center_baseline", ha="center", fontsize=_SMALL,
        color=colour("no-leader" if nobody else "leader-ink"), fontweight="bold", bbox=box,
        parse_math=False, clip_on=True,
    )  # fmt: skip


def _member(panel: Axes, timeline: Timeline, states: Sequence[Span], *, y: int) -> None:
    for span in states:
        if span.label == "ready":
            panel.plot(
                [span.start, span.end], [y + 0.5] * 2,
                color=colour("ready" if timeline.watched else "grid"), linewidth=2,
                solid_capstyle="butt",
            )  # fmt: skip
            continue
        panel.broken_barh(
            [(span.start, span.seconds)], (y + 0.12, 0.76), facecolor=colour("paper"),
            edgecolor=colour("down"), hatch="xxxx", linewidth=0.8,
        )  # fmt: skip
        if _inches(timeline, span.start, span.end) >= len(span.label) * _CHARACTER + 0.1:
            start = max(span.start, timeline.start)
            panel.text(
                (start + span.end) / 2, y + 0.5, span.label, va="center_baseline", ha="center",
                fontsize=_SMALL, color=colour("down"), parse_math=False, clip_on=True,
                bbox={"facecolor": colour("paper"), "edgecolor": "none", "pad": 1},
            )  # fmt: skip


def _legend(panel: Axes, columns: int) -> None:
    legend = panel.legend(
        loc="lower right", bbox_to_anchor=(1.005, 0.985), ncol=columns, frameon=False,
        fontsize=_SMALL, labelcolor=colour("ink"), handlelength=1.5, handleheight=0.9,
        handletextpad=0.45, columnspacing=1.1, borderpad=0.15, borderaxespad=0.25,
    )  # fmt: skip
    legend.set_zorder(5)


def _inches(timeline: Timeline, start: float, end: float) -> float:
    span = max(0.0, end - max(start, timeline.start))
    return span / (timeline.end - timeline.start) * (WIDTH - _LEFT - _RIGHT)
