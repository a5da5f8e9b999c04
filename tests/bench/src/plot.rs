//! A line chart as SVG: both axes logarithmic or linear, a few series, nothing else.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;
/// Colours that can also be told apart without red and green.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/// What a chart shows.
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) across: String,
    pub(crate) up: String,
    /// Name and points of each line.
    pub(crate) series: Vec<(String, Vec<(f64, f64)>)>,
}

/// One axis: where a value goes, from 0 to 1.
struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// Logarithmic when the values span more than a factor of 20.
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        let logarithmic = low > 0.0 && high / low > 20.0;
        let (low, high) = if logarithmic {
            (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()))
        } else {
            (0.0, nice(high))
        };
        Self {
            low,
            high,
            logarithmic,
        }
    }

    fn place(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    fn marks(&self) -> Vec<f64> {
        if !self.logarithmic {
            return (0..=5_u8)
                .map(|step| self.low + (self.high - self.low) * f64::from(step) / 5.0)
                .collect();
        }
        let mut marks = vec![self.low];
        while let Some(last) = marks.last().filter(|last| **last * 10.0 <= self.high * 1.001) {
            marks.push(last * 10.0);
        }
        marks
    }
}

/// The next round number above.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|round| *round >= value)
        .unwrap_or(power * 10.0)
}

fn words(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{} M", v / 1e6),
        v if v >= 1e4 => format!("{} k", v / 1e3),
        v if v >= 10.0 || v.fract() == 0.0 => format!("{v:.0}"),
        v => format!("{v:.2}"),
    }
}

/// The chart as an SVG document.
pub(crate) fn svg(chart: &Chart) -> String {
    let points = || chart.series.iter().flat_map(|(_, points)| points.iter().copied());
    let (across, up) = (
        Axis::of(points().map(|point| point.0)),
        Axis::of(points().map(|point| point.1)),
    );
    let x = |value: f64| LEFT + across.place(value) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - up.place(value) * (HEIGHT - TOP - BOTTOM);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{}</text>\n",
        chart.title
    );
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for mark in up.marks() {
        let at = y(mark);
        let _ = writeln!(
            text,
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            words(mark)
        );
    }
    for mark in across.marks() {
        let at = x(mark);
        let _ = writeln!(
            text,
            "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#eee\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            words(mark)
        );
    }
    let _ = writeln!(
        text,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
         <text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        (LEFT + right) / 2.0,
        HEIGHT - 18.0,
        chart.across,
        (TOP + bottom) / 2.0,
        chart.up
    );
    for ((at, (name, points)), colour) in chart.series.iter().enumerate().zip(COLOURS.iter().cycle()) {
        let line: Vec<String> = points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)))
            .collect();
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        for point in points {
            let _ = writeln!(
                text,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x(point.0),
                y(point.1)
            );
        }
        #[allow(clippy::cast_precision_loss, reason = "a handful of series")]
        let left = LEFT + 10.0 + 190.0 * at as f64;
        let _ = writeln!(
            text,
            "<text x=\"{left}\" y=\"40\" fill=\"{colour}\">{name}</text>"
        );
    }
    text.push_str("</svg>\n");
    text
}
