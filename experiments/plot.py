"""Draws accuracy against measured bytes from the points of run folders: curve.png and curve.pdf.

    plot.py RUN_FOLDER... [--out DIR]

A panel a dataset. Dots are fused points: colour says the precision, shape the selection. Lines across
are what needs no bytes or is no curve: the receiver alone, the sharer alone. Exits with 69 if
matplotlib is missing.
"""

import argparse
import json
import pathlib
import sys

EXIT_NO_MATPLOTLIB = 69
EXIT_NO_INPUT = 66

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter
except ImportError:
    print("plot.py: this Python has no matplotlib", file=sys.stderr)
    sys.exit(EXIT_NO_MATPLOTLIB)

# Colours that stay apart for colour-blind readers (Okabe and Ito, 2008).
SCHEME_COLOURS = {
    "fp32": "#000000",
    "bf16": "#0072B2",
    "fp16": "#56B4E9",
    "fp8_e4m3": "#CC79A7",
    "fp8_e5m2": "#F4A6C8",
    "int8": "#009E73",
    "int4": "#D55E00",
    "int3": "#882255",
    "int2": "#332288",
    "int2_lloyd": "#AA4499",
    "int2_absmax": "#DDCC77",
    "nf4": "#999933",
    "binary": "#661100",
    "klt": "#CC3311",
}
OTHER_SCHEME = "#7F7F7F"
OTHER_SELECTION = "8"
SELECTION_MARKERS = {
    "all": "o",
    "back": "<",
    "front": ">",
    "sinks": "v",
    "strided": "p",
    "random": "P",
    "key_norm": "D",
    "value_norm": "s",
    "attention": "^",
    "projected_norm": "d",
    "residual_norm": (4, 1, 0),
    "codebook": "h",
}
SELECTION_NAMES = {
    "all": "all tokens",
    "back": "last tokens",
    "front": "first tokens",
    "sinks": "first few and last tokens",
    "strided": "evenly spaced",
    "random": "random tokens",
    "key_norm": "largest keys",
    "value_norm": "largest values",
    "attention": "most attended",
    "projected_norm": "largest fused values",
    "residual_norm": "largest additions",
    "codebook": "as its codebook says",
}
LINE_STYLES = {"receiver": ("#444444", (0, (5, 3))), "sharer": ("#444444", (0, (1, 2)))}
TEXT_COLOUR = "#E69F00"
CACHE_MODES = ("fused", "prefix")
LEGEND_COLUMNS = 3  # below each column of panels


def read_points(folder):
    path = pathlib.Path(folder) / "results" / "points.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        print(f"plot.py: {path}: {error}", file=sys.stderr)
        sys.exit(EXIT_NO_INPUT)


def selection_of(point):
    """The scheme klt has no selection: which tokens a level sends is a matter of its codebook."""
    return point["codec"].get("select", "codebook")


def human_bytes(value, _position=None):
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} B"


def error_bars(points):
    low = [point["accuracy"] - point["ci95"][0] for point in points]
    high = [point["ci95"][1] - point["accuracy"] for point in points]
    return [[max(0.0, x) for x in low], [max(0.0, x) for x in high]]


def draw_series(axes, points, colour, marker, filled, connected):
    points = sorted(points, key=lambda point: point["bytes_tx"]["mean"])
    axes.errorbar(
        [point["bytes_tx"]["mean"] for point in points],
        [point["accuracy"] for point in points],
        yerr=error_bars(points),
        color=colour,
        marker=marker,
        markersize=6.5,
        markerfacecolor=colour if filled else "white",
        linewidth=1.1 if connected else 0,
        elinewidth=0.9,
        capsize=2.5,
        zorder=3,
    )


def draw_level(axes, point, labels):
    """A line across with its interval, for a point that has no place on the byte axis."""
    colour, style = LINE_STYLES[point["mode"]]
    axes.axhline(point["accuracy"], color=colour, linestyle=style, linewidth=1.2, zorder=1)
    axes.axhspan(*point["ci95"], color=colour, alpha=0.08, linewidth=0, zorder=0)
    with_context = point["point"] == "receiver_context"
    label = "receiver, context as text" if with_context else f"{point['mode']} alone"
    labels.append((point["accuracy"], label, colour))


def draw_control(axes, point, colour):
    """A control stands at its bytes; a zero cache costs none and stands at the left edge."""
    tx = point["bytes_tx"]["mean"]
    x, transform = (tx, axes.transData) if tx > 0 else (0.015, axes.get_yaxis_transform())
    axes.plot([x], [point["accuracy"]], marker="X", color=colour, markersize=7, linestyle="none",
              markeredgecolor="white", transform=transform, zorder=4, clip_on=False)  # fmt: skip


def label_levels(axes, labels):
    """Names of the lines at the right edge, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    gap = (high - low) * 0.045
    last = low - gap
    for height, text, colour in sorted(labels):
        last = max(height, last + gap)
        axes.annotate(text, (1.0, last), xycoords=axes.get_yaxis_transform(), xytext=(5, 0),
                      textcoords="offset points", va="center", fontsize=8.5, color=colour)  # fmt: skip


def scale_bytes(axes, values):
    axes.set_xscale("log")
    if values:
        axes.set_xlim(min(values) / 1.6, max(values) * 1.6)
        if max(values) / min(values) < 100:  # decades alone would leave one label or none
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(human_bytes))
    axes.xaxis.set_minor_formatter(NullFormatter())


def draw_panel(axes, points, dataset, run_name):
    labels = []
    fused = [p for p in points if p["mode"] in CACHE_MODES and "control" not in p]
    selections = {}
    for point in fused:
        codec = point["codec"]
        selections.setdefault((selection_of(point), codec["scheme"]), []).append(point)
    for (selection, scheme), series in selections.items():
        draw_series(axes, series, SCHEME_COLOURS.get(scheme, OTHER_SCHEME),
                    SELECTION_MARKERS.get(selection, OTHER_SELECTION), selection == "all", selection != "all")  # fmt: skip
    # The precisions at all tokens are one curve of their own, through all colours.
    whole = sorted(
        (p for p in fused if selection_of(p) == "all"), key=lambda p: p["bytes_tx"]["mean"]
    )
    axes.plot([p["bytes_tx"]["mean"] for p in whole], [p["accuracy"] for p in whole],
              color="#999999", linewidth=1.1, zorder=2)  # fmt: skip
    for point in points:
        if point["mode"] in LINE_STYLES:
            draw_level(axes, point, labels)
        elif point["mode"] in ("text", "text_answer"):
            draw_series(axes, [point], TEXT_COLOUR, "*", True, False)
            axes.annotate(point["point"].replace("_", " ") + " relay", (point["bytes_tx"]["mean"], point["accuracy"]),
                          xytext=(8, 1), va="center", textcoords="offset points", fontsize=8.5, color=TEXT_COLOUR)  # fmt: skip
        elif "control" in point:
            draw_control(axes, point, SCHEME_COLOURS.get(point["codec"]["scheme"], OTHER_SCHEME))
    scale_bytes(axes, [p["bytes_tx"]["mean"] for p in points if p["bytes_tx"]["mean"] > 0])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylim(-0.02, 1.04)
    axes.set_xlabel("bytes a question, measured (log)")
    axes.grid(True, which="major", color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    count = max(point["n"] for point in points)
    title = f"{dataset} (n = {count:,})"
    axes.set_title(title if run_name is None else f"{run_name}: {title}", fontsize=11, loc="left")
    label_levels(axes, labels)


def in_order(present, known):
    """What is present, in the order of `known`; what that does not have comes last."""
    return [name for name in known if name in present] + sorted(present - known.keys())


def legend_handles(points):
    fused = [p for p in points if p["mode"] in CACHE_MODES]
    schemes = in_order({p["codec"]["scheme"] for p in fused}, SCHEME_COLOURS)
    selections = in_order({selection_of(p) for p in fused if "control" not in p}, SELECTION_MARKERS)
    handles = [
        Line2D([], [], color=SCHEME_COLOURS.get(s, OTHER_SCHEME), linewidth=3, label=s)
        for s in schemes
    ]
    handles += [
        Line2D([], [], color="#555555", marker=SELECTION_MARKERS.get(s, OTHER_SELECTION), linestyle="none",
               markerfacecolor="#555555" if s == "all" else "white", label=SELECTION_NAMES.get(s, s))
        for s in selections
    ]  # fmt: skip
    if any("control" in p for p in fused):
        handles.append(Line2D([], [], color="#555555", marker="X", linestyle="none", markeredgecolor="white",
                              markersize=8, label="control: another question's or a zero cache"))  # fmt: skip
    return handles


def draw(folders, out):
    panels = []
    for folder in folders:
        points = read_points(folder)
        name = pathlib.Path(folder).resolve().name if len(folders) > 1 else None
        for dataset in dict.fromkeys(point["dataset"] for point in points):
            panels.append(([p for p in points if p["dataset"] == dataset], dataset, name))
    if not panels:
        print("plot.py: no complete point to draw", file=sys.stderr)
        sys.exit(EXIT_NO_INPUT)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    everything = [point for panel in panels for point in panel[0]]
    handles = legend_handles(everything)
    legend_rows = -(-len(handles) // (LEGEND_COLUMNS * columns))
    # Three rows of the legend have room below the panels; more make the figure higher.
    more = 0.19 * max(0, legend_rows - 3)
    height = 4.6 * rows + 0.5 + more
    figure, grid = plt.subplots(rows, columns, figsize=(6.4 * columns, height), squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        draw_panel(axes, *panel)
    for row in grid:
        row[0].set_ylabel("accuracy, 95 % interval")
    figure.legend(
        handles=handles,
        loc="lower center",
        ncol=LEGEND_COLUMNS * columns,
        fontsize=9,
        frameon=False,
    )
    figure.tight_layout(rect=(0, 0.11 / rows + 0.02 + more / height, 1, 1), w_pad=3.0)
    out.mkdir(parents=True, exist_ok=True)
    for suffix in ("png", "pdf"):
        # Without a date in it, the same points give the same file.
        metadata = {"CreationDate": None} if suffix == "pdf" else {"Software": None}
        figure.savefig(out / f"curve.{suffix}", dpi=160, metadata=metadata)
        print(f"curve: {out / f'curve.{suffix}'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", metavar="RUN_FOLDER")
    parser.add_argument(
        "--out", help="where the files go; default: results/ of the first run folder"
    )
    arguments = parser.parse_args()
    out = (
        pathlib.Path(arguments.out)
        if arguments.out
        else pathlib.Path(arguments.folders[0]) / "results"
    )
    draw(arguments.folders, out)


if __name__ == "__main__":
    main()
