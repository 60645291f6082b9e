//! The pictures of a page, as SVG text.

use std::time::Duration;

use plotters::coord::ranged1d::{NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::ledger::Latencies;
use crate::report::SimReport;

const SIZE: (u32, u32) = (900, 260);
const BLUE: RGBColor = RGBColor(31, 98, 178);
const GREEN: RGBColor = RGBColor(19, 115, 59);
const RED: RGBColor = RGBColor(179, 38, 30);
const GREY: RGBColor = RGBColor(150, 160, 170);
/// Most points of one line: a picture has no more columns.
const POINTS_MAX: usize = 400;

type Drawn = Result<String, String>;

fn words(error: impl std::fmt::Display) -> String {
    format!("a picture cannot be drawn: {error}")
}

fn svg(draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Result<(), String>) -> Drawn {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        draw(&area)?;
        area.present().map_err(words)?;
    }
    Ok(text)
}

fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
const fn place(number: u64) -> f64 {
    number as f64
}

/// How many states there are among how many nodes over time, and when faults struck.
pub(super) fn agreement(report: &SimReport) -> Drawn {
    let samples = &report.ledger.samples;
    let end_s = samples.last().map_or(1.0, |sample| seconds(sample.at_us)).max(0.001);
    let most = place(report.nodes as u64) + 0.5;
    svg(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(42)
            .build_cartesian_2d(0.0..end_s, 0.0..most)
            .map_err(words)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_desc("virtual seconds")
            .y_desc("nodes")
            .y_label_formatter(&|number| format!("{number:.0}"))
            .draw()
            .map_err(words)?;
        let faults = report.ledger.moments.iter().map(|moment| seconds(moment.at_us)).filter(|at_s| *at_s <= end_s);
        let lines = faults.map(|at_s| PathElement::new(vec![(at_s, 0.0), (at_s, most)], GREY.mix(0.45)));
        chart.draw_series(lines).map_err(words)?;
        if let Some(at_s) = report.failed_at_us.map(seconds) {
            let line = PathElement::new(vec![(at_s, 0.0), (at_s, most)], RED.stroke_width(2));
            chart.draw_series(std::iter::once(line)).map_err(words)?;
        }
        let running = steps(samples.iter().map(|sample| (sample.at_us, sample.running as u64)));
        let states = steps(samples.iter().map(|sample| (sample.at_us, sample.states as u64)));
        chart
            .draw_series(LineSeries::new(running, GREEN.stroke_width(2)))
            .map_err(words)?
            .label("running")
            .legend(|(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], GREEN.stroke_width(2)));
        chart
            .draw_series(LineSeries::new(states, BLUE.stroke_width(2)))
            .map_err(words)?
            .label("states")
            .legend(|(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], BLUE.stroke_width(2)));
        legend(&mut chart)
    })
}

/// A line that stays where it is until the next look.
fn steps(looks: impl Iterator<Item = (u64, u64)>) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (at_us, number) in looks {
        if let Some((_, before)) = points.last().copied() {
            points.push((seconds(at_us), before));
        }
        points.push((seconds(at_us), place(number)));
    }
    points
}

/// Shares of publications and answers that were there within a time, on a scale of powers of ten.
pub(super) fn latencies(report: &SimReport) -> Drawn {
    let (publications, answers) = (shares(&report.ledger.publications), shares(&report.ledger.answers));
    let longest = report.ledger.publications.max_us.max(report.ledger.answers.max_us).max(1_000);
    svg(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(42)
            .build_cartesian_2d((100.0..place(longest) * 1.2).log_scale(), 0.0..102.0)
            .map_err(words)?;
        chart
            .configure_mesh()
            .x_desc("virtual time")
            .y_desc("in a hundred")
            .x_label_formatter(&|us| time(*us))
            .y_label_formatter(&|share| format!("{share:.0}"))
            .light_line_style(TRANSPARENT)
            .draw()
            .map_err(words)?;
        for (name, points, color) in [("publications", publications, BLUE), ("answers", answers, GREEN)] {
            if points.is_empty() {
                continue;
            }
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))
                .map_err(words)?
                .label(name)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], color.stroke_width(2)));
        }
        legend(&mut chart)
    })
}

fn time(us: f64) -> String {
    if us >= 1e6 {
        format!("{:.0} s", us / 1e6)
    } else if us >= 1e3 {
        format!("{:.0} ms", us / 1e3)
    } else {
        format!("{us:.0} µs")
    }
}

fn shares(latencies: &Latencies) -> Vec<(f64, f64)> {
    let all = &latencies.sorted_us;
    let every = all.len().div_ceil(POINTS_MAX).max(1);
    let count = place(all.len() as u64);
    let shown = |place: usize| place.is_multiple_of(every) || place == all.len();
    let numbered = all.iter().zip(1_usize..).filter(|(_, place)| shown(*place));
    numbered.map(|(us, number)| (place(*us).max(100.0), place(number as u64) / count * 100.0)).collect()
}

/// Bytes sent, a bar for each node.
pub(super) fn bytes_by_node(report: &SimReport) -> Drawn {
    let bars: Vec<(String, u64)> =
        report.ledger.bytes_by_node.iter().zip(0_usize..).map(|(bytes, node)| (node.to_string(), *bytes)).collect();
    bars_of(&bars)
}

/// Bytes sent, a bar for each kind.
pub(super) fn bytes_by_kind(report: &SimReport) -> Drawn {
    let bars: Vec<(String, u64)> =
        report.ledger.bytes_by_kind.iter().map(|(kind, bytes)| ((*kind).to_owned(), *bytes)).collect();
    bars_of(&bars)
}

/// One place on the axis for each bar, named in its middle.
struct Names<'a>(&'a [(String, u64)]);

impl ValueFormatter<f64> for Names<'_> {
    fn format_ext(&self, value: &f64) -> String {
        let place = (0_u32..).zip(self.0).find(|(place, _)| (f64::from(*place) + 0.5 - value).abs() < 0.01);
        place.map_or_else(String::new, |(_, (name, _))| name.clone())
    }
}

impl Ranged for Names<'_> {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = value / place(self.0.len().max(1) as u64);
        #[expect(clippy::cast_possible_truncation, reason = "a place in a picture")]
        let offset = (share * f64::from(to - from)).round() as i32;
        from + offset
    }

    fn key_points<Hint: plotters::coord::ranged1d::KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        // Names of many bars would stand on each other.
        let every = self.0.len().div_ceil(40).max(1);
        (0_u32..).zip(self.0).step_by(every).map(|(place, _)| f64::from(place) + 0.5).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        0.0..place(self.0.len().max(1) as u64)
    }
}

fn bars_of(bars: &[(String, u64)]) -> Drawn {
    let most = bars.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default().max(1);
    svg(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(26)
            .y_label_area_size(64)
            .build_cartesian_2d(Names(bars), 0.0..place(most) * 1.1)
            .map_err(words)?;
        chart.configure_mesh().disable_x_mesh().y_label_formatter(&|bytes| size(*bytes)).draw().map_err(words)?;
        let rectangles = (0_u32..).zip(bars).map(|(number, (_, bytes))| {
            let left = f64::from(number);
            Rectangle::new([(left + 0.15, 0.0), (left + 0.85, place(*bytes))], BLUE.filled())
        });
        chart.draw_series(rectangles).map_err(words)?;
        Ok(())
    })
}

fn size(bytes: f64) -> String {
    if bytes >= 1e6 { format!("{:.1} MB", bytes / 1e6) } else { format!("{:.0} kB", bytes / 1e3) }
}

fn legend<'a, X: Ranged<ValueType = f64>, Y: Ranged<ValueType = f64>>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
) -> Result<(), String> {
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.85))
        .border_style(GREY)
        .position(SeriesLabelPosition::UpperRight)
        .draw()
        .map_err(words)
}
