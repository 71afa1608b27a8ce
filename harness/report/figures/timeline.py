"""A trial's timeline: faults, load, latency, leader and members, and what probes sampled.

One time axis below, a panel for each subject above it, fault windows shaded through all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.report.figures.chart_style import (
    BOTTOM,
    DASHES,
    HATCHES,
    LEFT,
    SERIES,
    SMALL,
    SYMBOLS,
    TOP,
    Figure,
    Json,
    axis,
    fit,
    frame,
    text_at,
)
from harness.report.formatting import duration
from harness.report.latency_heatmap import latency_heatmap
from harness.report.timeline_data import FaultWindow, Span, Timeline
from harness.report.tracks import TimelineTrack
from harness.trial import number_text

_HEAD = 26  # pixels above each panel, for its title and legend
_LOAD, _LATENCY, _LINES = 120, 120, 96
_ROW = 24
_MOST_FAILURES = 600
_GOOD_STATES = frozenset({"ready", "running", "yes", "ok", "reachable", "healthy", "up", "alive"})


@dataclass
class _Drawing:
    """The figure in the making; panels are added from the top."""

    timeline: Timeline
    figure: Figure = field(default_factory=Figure)
    panels: list[tuple[str, str, int, Json]] = field(default_factory=list)

    def panel(self, title: str, note: str, height: int, **y: object) -> str:
        """Add a panel and return the name of its y axis."""
        self.panels.append((title, note, height, axis(**y)))
        return self.name_of(len(self.panels))

    def name_of(self, number_: int) -> str:
        return "y" if number_ == 1 else f"y{number_}"

    def legend(self) -> str:
        """The name of the legend that belongs to the panel added last."""
        number_ = len(self.panels)
        return "legend" if number_ == 1 else f"legend{number_}"

    def add(self, **trace: object) -> None:
        self.figure.data.append(trace)


def timeline_figure(timeline: Timeline, tracks: Sequence[TimelineTrack] = ()) -> Figure:
    """Return the chart of ``timeline``, with ``tracks`` below."""
    drawing = _Drawing(timeline)
    if timeline.faults:
        _faults(drawing)
    if timeline.requests:
        _load(drawing)
        _latency(drawing)
    if timeline.members or timeline.leaders:
        _members(drawing)
    for track in tracks:
        draw = _lines if track.lines else _bands if track.bands else _dots
        draw(drawing, track)
    _lay_out(drawing)
    return drawing.figure


def _lay_out(drawing: _Drawing) -> None:
    """Give every panel its place, and all of them the axis below and the shading behind."""
    timeline, figure = drawing.timeline, drawing.figure
    inner = sum(height + _HEAD for *_, height, _ in drawing.panels) or 1
    figure.height = inner + TOP + BOTTOM
    layout = frame(
        figure.height,
        barmode="stack",
        bargap=0.06,
        showlegend=True,
        uniformtext={"minsize": 9, "mode": "hide"},
    )
    annotations: list[Json] = []
    top = float(inner)
    for place, (title, note, height, y) in enumerate(drawing.panels, start=1):
        top -= _HEAD
        name = drawing.name_of(place)
        domain = [round(max(0.0, top - height) / inner, 5), round(top / inner, 5)]
        layout[f"yaxis{name[1:]}"] = {**y, "domain": domain, "anchor": "x"}
        text = f"<b>{fit(title, 60)}</b>" + (
            f'<span style="font-size:{SMALL}px">  {fit(note, 80)}</span>' if note else ""
        )
        annotations.append(text_at(0, domain[1], text, xshift=6 - LEFT, yshift=3))
        layout[f"legend{name[1:]}"] = {
            "orientation": "h", "x": 1, "xanchor": "right", "y": domain[1], "yanchor": "bottom",
            "font": {"size": SMALL, "color": "$ink"}, "itemclick": False,
            "itemdoubleclick": False, "traceorder": "normal",
            "bgcolor": "rgba(0,0,0,0)", "tracegroupgap": 0,
        }  # fmt: skip
        top -= height
    layout["xaxis"] = axis(
        range=[timeline.start, timeline.end],
        fixedrange=False,
        anchor=drawing.name_of(len(drawing.panels) or 1),
        title={"text": "seconds since the trial began", "font": {"size": SMALL, "color": "$muted"}},
        showline=True,
        linecolor="$muted",
        ticks="outside",
        tickcolor="$muted",
        showspikes=True,
        spikemode="across",
        spikethickness=1,
        spikedash="solid",
        spikecolor="$muted",
        spikesnap="cursor",
    )
    layout["annotations"] = annotations
    layout["shapes"] = [shape for fault in timeline.faults for shape in _shading(fault)]
    layout["dragmode"] = "zoom"
    figure.layout = layout


def _shading(fault: FaultWindow) -> list[Json]:
    def band(x0: float, x1: float, **more: object) -> Json:
        return {"type": "rect", "xref": "x", "yref": "paper", "x0": x0, "x1": x1, "y0": 0, "y1": 1,
                "layer": "below", **more}  # fmt: skip

    window = band(fault.start, fault.end, fillcolor="$fault", opacity=0.16, line={"width": 0})
    edges = (fault.start, fault.end) if fault.healed else (fault.start,)
    return [
        window,
        *(band(e, e, type="line", line={"width": 1, "color": "$fault"}) for e in edges),
    ]


def _faults(drawing: _Drawing) -> None:
    faults = drawing.timeline.faults
    y = drawing.panel(
        "Faults", "", _ROW * len(faults),
        range=[len(faults), 0], showticklabels=False, showgrid=False,
    )  # fmt: skip
    texts = [
        f"{f.label}, {duration(f.end - f.start)}{'' if f.healed else ', not healed'}"
        for f in faults
    ]
    drawing.add(
        type="bar", orientation="h", yaxis=y, name="faults", showlegend=False,
        base=[f.start for f in faults], x=[round(f.end - f.start, 3) for f in faults],
        y=[n + 0.5 for n in range(len(faults))], width=0.8,
        text=[fit(w, 90) for w in texts], textposition="auto", insidetextanchor="start",
        textangle=0, constraintext="none", cliponaxis=True,
        insidetextfont={"color": "$fault-ink", "size": SMALL},
        outsidetextfont={"color": "$ink", "size": SMALL},
        marker={"color": "$fault"},
        customdata=[_fault_text(f) for f in faults],
        hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip


def _fault_text(fault: FaultWindow) -> str:
    proof = "no evidence" if fault.proven is None else f"took effect by {fault.proven:.1f} s"
    end = f"healed at {fault.end:.1f} s" if fault.healed else "not healed"
    return f"{fit(fault.label)}<br>injected at {fault.start:.1f} s, {proof}, {end}"


def _load(drawing: _Drawing) -> None:
    timeline = drawing.timeline
    each = "" if timeline.width == 1 else f"by {timeline.width:g} s"
    tallest = max(sum(b.counts.values()) for b in timeline.bins) / timeline.width
    y = drawing.panel(
        "Requests per second", each, _LOAD, range=[0, round(tallest * 1.06, 3)], nticks=5
    )
    legend = drawing.legend()
    middle = [round(b.start + timeline.width / 2, 3) for b in timeline.bins]
    hover = [
        f"{b.start:g} to {b.start + timeline.width:g} s<br>"
        + "<br>".join(f"{o}: {b.counts[o]:,}" for o in timeline.outcomes if b.counts.get(o))
        for b in timeline.bins
    ]
    for outcome in timeline.outcomes:
        shown = [n for n, b in enumerate(timeline.bins) if b.counts.get(outcome)]
        marker: Json = {"color": f"${outcome}", "line": {"width": 0}}
        if HATCHES[outcome]:
            marker["pattern"] = {
                "shape": HATCHES[outcome], "fgcolor": "$paper", "size": 5, "solidity": 0.35,
                "fillmode": "overlay",
            }  # fmt: skip
        drawing.add(
            type="bar", yaxis=y, legend=legend, name=f"{outcome} {timeline.counts[outcome]:,}",
            x=[middle[n] for n in shown],
            y=[round(timeline.bins[n].counts[outcome] / timeline.width, 4) for n in shown],
            width=round(timeline.width * 0.94, 3), marker=marker,
            customdata=[hover[n] for n in shown], hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip


def _latency(drawing: _Drawing) -> None:
    timeline = drawing.timeline
    heat = latency_heatmap(timeline.requests, [b.start for b in timeline.bins], timeline.width)
    low, high = heat.lengths[0], heat.lengths[-1]
    ticks = [t for t in (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10, 100) if low <= t <= high]
    y = drawing.panel(
        "Latency", "darker: more requests", _LATENCY, type="log",
        tickvals=ticks, ticktext=[duration(t) for t in ticks],
        range=[_log(low / 1.1), _log(high * 1.1)],
    )  # fmt: skip
    legend = drawing.legend()
    columns = range(len(heat.times) - 1)
    drawing.add(
        type="heatmap", yaxis=y, name="requests", showscale=False, showlegend=False,
        x=list(heat.times), y=list(heat.lengths),
        # Square roots, so that a single slow request is visible next to hundreds.
        z=[[round(n ** 0.5, 2) if n else None for n in row] for row in heat.counts],
        zmin=0, zmax=round(max(heat.most, 1) ** 0.5, 2),
        colorscale=[[0, "$heat-1"], [0.35, "$heat-2"], [0.7, "$heat-3"], [1, "$heat-4"]],
        customdata=[
            [
                f"{row[n]:,} requests of {duration(heat.lengths[k])} to "
                f"{duration(heat.lengths[k + 1])},<br>{heat.times[n]:g} to {heat.times[n + 1]:g} s"
                if row[n] else ""
                for n in columns
            ]
            for k, row in enumerate(heat.counts)
        ],
        hovertemplate="%{customdata}<extra></extra>", hoverongaps=False, xgap=0.5, ygap=0.5,
    )  # fmt: skip
    for outcome in timeline.outcomes:
        if outcome == "ok":
            continue
        failed = [r for r in timeline.requests if r.outcome == outcome]
        every = -(-len(failed) // _MOST_FAILURES)
        failed = failed[::every]
        drawing.add(
            type="scatter", mode="markers", yaxis=y, name=outcome, showlegend=False,
            x=[round(r.t, 2) for r in failed], y=[float(f"{r.took:.3g}") for r in failed],
            marker={"color": f"${outcome}", "size": 4.5, "opacity": 0.9},
            hovertemplate=f"{outcome} at %{{x:.2f}} s<extra></extra>",
        )  # fmt: skip
    for name, dash in (("p50", "solid"), ("p99", "4px,2px")):
        values = [b.p50 if name == "p50" else b.p99 for b in timeline.bins]
        drawing.add(
            type="scatter", mode="lines", yaxis=y, legend=legend, name=f"{name} of ok",
            x=list(heat.times), y=[*_rounded(values), _rounded(values)[-1]],
            line={"shape": "hv", "width": 1.6, "dash": dash, "color": f"${name}"},
            customdata=[*(duration(v) if v else "" for v in values), ""],
            hovertemplate=f"{name} of ok from %{{x:.0f}} s: %{{customdata}}<extra></extra>",
        )  # fmt: skip


def _members(drawing: _Drawing) -> None:
    timeline = drawing.timeline
    rows: dict[str, list[tuple[Span, str, str]]] = {}
    if timeline.leaders:
        rows["leader"] = [
            (s, _leader_kind(s, lightly=n % 2 == 1), _leader_text(s))
            for n, s in enumerate(timeline.leaders)
        ]
    calm = "state" if timeline.watched else "not-observed"
    for name, states in timeline.members.items():
        row = [(s, calm if s.label == "ready" else "bad", f"{name} is {s.label}") for s in states]
        led = [s for s in timeline.leaders if s.label == name and not s.under_fault]
        rows[name] = [*row, *((s, "leads", f"{name} leads") for s in led)]
    note = "as the swarm sees them" if timeline.watched else "states were not observed"
    _rows_of_bars(drawing, "Leader and members", note, rows)


def _leader_kind(span: Span, *, lightly: bool) -> str:
    if not span.label or span.under_fault:
        return "no-leader"
    return "leader-light" if lightly else "leader"


def _leader_text(span: Span) -> str:
    if not span.label:
        return "no leader"
    return f"{span.label} listed, under a fault" if span.under_fault else span.label


def _bands(drawing: _Drawing, track: TimelineTrack) -> None:
    rows = {
        label or "all": [
            (s, "state" if s.label.lower() in _GOOD_STATES else "bad", s.label) for s in spans
        ]
        for label, spans in track.bands.items()
    }
    _rows_of_bars(drawing, track.title, _note(track), rows)


#: Kind of bar: colour, height, pattern, colour of the text in it.
_BARS: Mapping[str, tuple[str, float, str, str]] = {
    "leader": ("$leader", 0.82, "", "$leader-ink"),
    "leader-light": ("$leader-light", 0.82, "", "$leader-ink"),
    "no-leader": ("$no-leader", 0.82, "/", "$ink"),
    "state": ("$ready", 0.14, "", ""),
    "not-observed": ("$grid", 0.14, "", ""),
    "leads": ("$leader", 0.46, "", ""),
    "bad": ("$down", 0.72, "x", "$ink"),
}


def _rows_of_bars(
    drawing: _Drawing, title: str, note: str, rows: Mapping[str, list[tuple[Span, str, str]]]
) -> None:
    names = list(rows)
    y = drawing.panel(
        title, note, _ROW * max(len(names), 1),
        range=[len(names), 0], showgrid=False,
        tickvals=[n + 0.5 for n in range(len(names))], ticktext=[fit(n, 18) for n in names],
        tickfont={"size": SMALL, "color": "$ink"},
    )  # fmt: skip
    for kind, (colour, height, pattern, ink) in _BARS.items():
        bars = [
            (place, span, text)
            for place, name in enumerate(names)
            for span, of_kind, text in rows[name]
            if of_kind == kind and span.end > drawing.timeline.start
        ]
        if not bars:
            continue
        marker: Json = {"color": colour}
        if pattern:
            marker |= {
                "color": "$paper", "line": {"width": 1, "color": colour},
                "pattern": {"shape": pattern, "fgcolor": colour, "size": 6, "solidity": 0.25,
                            "fillmode": "overlay"},
            }  # fmt: skip
        starts = [max(span.start, drawing.timeline.start) for _, span, _ in bars]
        drawing.add(
            type="bar", orientation="h", yaxis=y, name=kind, showlegend=False, width=height,
            base=starts,
            x=[round(span.end - at, 3) for at, (_, span, _) in zip(starts, bars, strict=True)],
            y=[place + 0.5 for place, _, _ in bars],
            marker=marker,
            text=[fit(text, 40) if ink else "" for _, _, text in bars],
            textposition="inside", insidetextanchor="middle", textangle=0,
            insidetextfont={"color": ink or "$ink", "size": SMALL},
            customdata=[
                f"{fit(text, 80)}<br>{span.start:.1f} to {span.end:.1f} s "
                f"({duration(span.seconds)})"
                for _, span, text in bars
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip


def _lines(drawing: _Drawing, track: TimelineTrack) -> None:
    unit = {"": "", "1": ""}.get(track.unit, track.unit)
    y = drawing.panel(
        track.title, ", ".join(w for w in (unit, _note(track)) if w), _LINES, nticks=5,
        rangemode="tozero" if track.from_zero else "normal",
    )  # fmt: skip
    legend = drawing.legend()
    few = len(track.lines) <= 6
    for place, line in enumerate(track.lines):
        drawing.add(
            type="scatter", mode="lines", yaxis=y, legend=legend, name=fit(line.label, 24) or "all",
            showlegend=few and len(track.lines) > 1,
            x=[round(t, 2) for t in line.times], y=_rounded(line.values), connectgaps=False,
            line={"width": 1.5, "color": SERIES[place % len(SERIES)],
                  "dash": DASHES[place % len(DASHES)], "shape": "hv" if line.steps else "linear"},
            hovertemplate=f"{fit(line.label, 60)} at %{{x:.1f}} s: %{{y:.4g}} {unit}"
            "<extra></extra>",
        )  # fmt: skip


def _dots(drawing: _Drawing, track: TimelineTrack) -> None:
    names = list(track.dots)
    y = drawing.panel(
        track.title, _note(track), _ROW * len(names),
        range=[len(names), 0], showgrid=False,
        tickvals=[n + 0.5 for n in range(len(names))], ticktext=[fit(n, 18) for n in names],
        tickfont={"size": SMALL, "color": "$ink"},
    )  # fmt: skip
    for place, name in enumerate(names):
        times = track.dots[name][:: -(-len(track.dots[name]) // _MOST_FAILURES)]
        drawing.add(
            type="scatter", mode="markers", yaxis=y, name=fit(name), showlegend=False,
            x=[round(t, 2) for t in times], y=[place + 0.5] * len(times),
            marker={"color": SERIES[place % len(SERIES)], "size": 7, "opacity": 0.7,
                    "symbol": SYMBOLS[place % len(SYMBOLS)]},
            hovertemplate=f"{fit(name, 60)} at %{{x:.2f}} s<extra></extra>",
        )  # fmt: skip


def _note(track: TimelineTrack) -> str:
    left = f"{number_text(track.left_out)} more not shown" if track.left_out else ""
    return "; ".join(part for part in (track.note, left) if part)


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    return [None if v is None else float(f"{v:.4g}") for v in values]


def _log(value: float) -> float:
    return round(math.log10(value), 4)
