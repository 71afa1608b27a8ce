"""Charts as Plotly takes them: plain dictionaries, drawn by the reader's browser.

No drawing happens here. Colours are names (``$ok``) that the page's script replaces by the style
sheet's, so that one figure serves light and dark paper.
"""

from harness.report.figures.chart_style import Figure
from harness.report.figures.spread import spread_figure
from harness.report.figures.timeline import timeline_figure
from harness.report.figures.trend import trend_figure

__all__ = ["Figure", "spread_figure", "timeline_figure", "trend_figure"]
